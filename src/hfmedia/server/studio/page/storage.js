// What this browser keeps: recent models, the draft, the colour scheme. A browser that keeps nothing works as well.

/** Under which name a browser keeps something. */
export const placeOf = (name) => `hfmedia.${name}`;

function read(store, name, otherwise) {
  try {
    const text = store().getItem(placeOf(name));
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise; // forbidden, or not ours
  }
}

function write(store, name, value) {
  try {
    if (value === null || value === undefined) store().removeItem(placeOf(name));
    else store().setItem(placeOf(name), JSON.stringify(value));
  } catch {
    return false; // forbidden or full: nothing is kept, and nothing else is lost
  }
  return true;
}

const forTab = () => sessionStorage;
const forGood = () => localStorage;

export const tab = {
  read: (name, otherwise = null) => read(forTab, name, otherwise),
  write: (name, value) => write(forTab, name, value),
};
export const device = {
  read: (name, otherwise = null) => read(forGood, name, otherwise),
  write: (name, value) => write(forGood, name, value),
};
