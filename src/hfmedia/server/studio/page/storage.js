// Browser storage for recent models, the draft and the color scheme. The page also works where storage is unavailable.

/** The storage key of a setting. */
export const scopedKey = (name) => `hfmedia.${name}`;

function read(storage, name, fallback) {
  try {
    const text = storage().getItem(scopedKey(name));
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback; // storage is blocked, or the value is not ours
  }
}

function write(storage, name, value) {
  try {
    if (value === null || value === undefined) storage().removeItem(scopedKey(name));
    else storage().setItem(scopedKey(name), JSON.stringify(value));
  } catch {
    return false; // storage is blocked or full: the value is lost, nothing else
  }
  return true;
}

const sessionArea = () => sessionStorage;
const localArea = () => localStorage;

/** Values kept until the tab is closed. */
export const session = {
  read: (name, fallback = null) => read(sessionArea, name, fallback),
  write: (name, value) => write(sessionArea, name, value),
};

/** Values kept on this device. */
export const local = {
  read: (name, fallback = null) => read(localArea, name, fallback),
  write: (name, value) => write(localArea, name, value),
};
