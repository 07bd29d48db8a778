// What OpenAI's own client for Node does with the gateway: each line of input orders a scenario, one line answers it.
// {"name": …, "api": …, "folder": …}: the folder holds one.png and two.png, and gets whatever is downloaded.

import { createReadStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import OpenAI, { toFile } from "openai";

const FLUX = "black-forest-labs/FLUX.1-schnell";
const FLUX_AT_FAL = `${FLUX}:fal-ai`;
const FLUX_AT_WAVESPEED = `${FLUX}:wavespeed`; // an image there is a job: accepted first, made later
const KONTEXT = "black-forest-labs/FLUX.1-Kontext-dev";
const WAN_AT_FAL = "Wan-AI/Wan2.2-T2V-A14B:fal-ai";

let client, folder, name;
let sent = []; // every request that really went out, the client's own retries too

function clientOf(baseURL) {
  return new OpenAI({
    apiKey: "none",
    baseURL,
    maxRetries: 2,
    fetch: (url, init) => {
      sent.push(`${init.method.toUpperCase()} ${new URL(url).pathname}`);
      return fetch(url, init);
    },
  });
}

const inFolder = (file) => join(folder, file);
const save = async (file, response) => {
  await writeFile(inFolder(file), Buffer.from(await response.arrayBuffer()));
  return { file, status: response.status, type: response.headers.get("content-type") };
};

/** What the client throws, as a program that catches it sees it. */
async function thrown(promise) {
  const before = sent.length;
  try {
    await promise;
  } catch (error) {
    const known = ["APIError", "BadRequestError", "NotFoundError"].filter((kind) => error instanceof OpenAI[kind]);
    const { status, code, type, param, message, requestID } = error;
    return { known, own: error.constructor.name, status, code, type, param, message, requestID,
      attempts: sent.length - before };
  }
  return { known: [], own: "nothing" };
}

/** Looks at a video until it has ended, as often as the gateway says; this client has no helper for that. */
async function ended(video) {
  const waits = [];
  while (video.status === "queued" || video.status === "in_progress") {
    const { data, response } = await client.videos.retrieve(video.id).withResponse();
    video = data;
    const wait = response.headers.get("openai-poll-after-ms");
    if (wait !== null) waits.push(Number(wait));
    await pause(wait === null ? 0 : Number(wait));
  }
  return { video, waits };
}

async function made(wish) {
  const begun = await client.videos.create({ prompt: "a red fox", model: WAN_AT_FAL, ...wish });
  return (await ended(begun)).video;
}

async function streamed(stream) {
  const events = [];
  for await (const { b64_json, ...event } of stream) {
    const file = `${name}-${events.length}.bin`;
    await writeFile(inFolder(file), Buffer.from(b64_json, "base64"));
    events.push({ ...event, file });
  }
  return { events };
}

const scenarios = {
  async image_url() {
    const answer = await client.images.generate({ model: FLUX, prompt: "a red fox", size: "512x256", n: 2,
      response_format: "url", seed: 7 });
    const files = await Promise.all(answer.data.map(async ({ url }, at) => save(`fox-${at}.png`, await fetch(url))));
    return { answer, files };
  },

  async image_b64() {
    const answer = await client.images.generate({ model: FLUX, prompt: "a red fox", size: "512x256",
      response_format: "b64_json", output_format: "webp" });
    const [{ b64_json, ...rest }] = answer.data;
    await writeFile(inFolder("fox.webp"), Buffer.from(b64_json, "base64"));
    return { answer: { ...answer, data: [rest] } };
  },

  async edit_one() {
    const answer = await client.images.edit({ model: KONTEXT, prompt: "make it blue",
      image: createReadStream(inFolder("one.png")), response_format: "url" });
    return { answer, files: [await save("edited.png", await fetch(answer.data[0].url))] };
  },

  async edit_several() {
    const image = [createReadStream(inFolder("one.png")), await toFile(readFile(inFolder("two.png")), "two.png")];
    const answer = await client.images.edit({ model: KONTEXT, prompt: "make it blue", image, response_format: "url" });
    return { answer, files: [await save("edited.png", await fetch(answer.data[0].url))] };
  },

  async image_stream() {
    return streamed(await client.images.generate({ model: FLUX, prompt: "a red fox", size: "512x256", n: 2,
      stream: true, partial_images: 1 }));
  },

  async edit_stream() {
    return streamed(await client.images.edit({ model: KONTEXT, prompt: "make it blue",
      image: createReadStream(inFolder("one.png")), stream: true }));
  },

  async stream_error() {
    const stream = await client.images.generate({ model: FLUX_AT_WAVESPEED, prompt: "a red fox", stream: true });
    return thrown(streamed(stream));
  },

  async unknown_model() {
    const model = "nobody/nothing";
    return {
      image: await thrown(client.images.generate({ model, prompt: "a fox" })),
      video: await thrown(client.videos.create({ model, prompt: "a fox" })),
      model: await thrown(client.models.retrieve(model)),
    };
  },

  async no_credit() {
    return thrown(client.images.generate({ model: FLUX_AT_FAL, prompt: "a fox" }));
  },

  async failed_late() {
    return thrown(client.images.generate({ model: FLUX_AT_WAVESPEED, prompt: "a fox" }));
  },

  async video() {
    const { data, response } = await client.videos
      .create({ prompt: "a red fox", model: WAN_AT_FAL, seconds: "4", size: "1280x720", seed: 7 })
      .withResponse();
    const begun = { ...data, retry: response.headers.get("x-should-retry"), requestID: data._request_id };
    const early = await thrown(client.videos.downloadContent(data.id));
    const { video, waits } = await ended(data);
    const files = [
      await save("fox.mp4", await client.videos.downloadContent(video.id)),
      await save("fox.webp", await client.videos.downloadContent(video.id, { variant: "thumbnail" })),
    ];
    const sprites = await thrown(client.videos.downloadContent(video.id, { variant: "spritesheet" }));
    return { begun, early, waits, video, files, sprites };
  },

  async video_of_file() {
    return made({ model: "sora-2", input_reference: createReadStream(inFolder("one.png")) });
  },

  async video_of_url() {
    const data = (await readFile(inFolder("one.png"))).toString("base64");
    return made({ model: "sora-2", input_reference: { image_url: `data:image/png;base64,${data}` } });
  },

  async video_failed() {
    const video = await made({});
    return { video, content: await thrown(client.videos.downloadContent(video.id)) };
  },

  async video_list() {
    const ids = [];
    for (const number of Array(12).keys()) {
      ids.push((await client.videos.create({ prompt: `boat ${number}`, model: WAN_AT_FAL })).id);
    }
    const gathered = async (order) => {
      const found = [];
      for await (const video of client.videos.list({ limit: 5, order })) found.push(video.id);
      return found;
    };
    const page = await client.videos.list({ limit: 5 });
    return { ids, newest: await gathered("desc"), oldest: await gathered("asc"),
      page: { count: page.data.length, last: page.last_id, more: page.has_more } };
  },

  async video_remix() {
    const video = await made({ size: "832x480", seconds: "5" });
    const begun = await client.videos.remix(video.id, { prompt: "the same, at night" });
    return { video, remix: (await ended(begun)).video };
  },

  async video_delete() {
    const videos = [await made({}), await client.videos.create({ prompt: "a boat", model: WAN_AT_FAL })];
    const told = [];
    for (const { id } of videos) {
      told.push({ id, answer: await client.videos.delete(id), after: await thrown(client.videos.retrieve(id)) });
    }
    return { told, left: (await client.videos.list()).data.length };
  },

  async models() {
    const listed = [];
    for await (const model of client.models.list()) listed.push(model);
    const one = await client.models.retrieve(FLUX);
    return { count: listed.length, inList: listed.find(({ id }) => id === FLUX), one };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  ({ name, folder } = order);
  [client, sent] = [clientOf(order.api), []];
  let told;
  try {
    told = { result: await scenarios[name](), sent };
  } catch (error) {
    told = { broken: String(error.stack ?? error), sent };
  }
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
