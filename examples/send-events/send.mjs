#!/usr/bin/env node
// Sends one event to a secevent transmitter: node send.mjs KEY < event.json
//
// KEY is the Idempotency-Key: take a name that the event keeps when this program runs again, such as a row id.
// Needs Node 18 or newer, and SECEVENT_ISSUER, SECEVENT_TOKEN_URL, SECEVENT_CLIENT and SECEVENT_SECRET.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const { SECEVENT_ISSUER, SECEVENT_TOKEN_URL, SECEVENT_CLIENT, SECEVENT_SECRET } = process.env;
const until = Date.now() + 15 * 60_000;

/** One request, repeated while that can help: its status and body. */
async function call(url, headers, body) {
  for (let delay = 1_000; ; delay = Math.min(2 * delay, 60_000)) {
    let problem;
    let retryAfter = 0;
    try {
      const answer = await fetch(url, { method: "POST", headers, body, signal: AbortSignal.timeout(30_000) });
      const text = await answer.text();
      if (![408, 429].includes(answer.status) && answer.status < 500) {
        return { status: answer.status, text };
      }
      problem = `status ${answer.status}: ${text}`;
      retryAfter = 1_000 * (Number(answer.headers.get("retry-after")) || 0);
    } catch (error) {
      problem = `${error}: ${error.cause ?? ""}`;
    }
    // The random part keeps producers apart that failed at the same moment.
    const pause = Math.max((delay * (1 + Math.random())) / 2, retryAfter);
    if (Date.now() + pause > until) {
      fail(`gave up, run it again with the same key: ${problem}`);
    }
    await sleep(pause);
  }
}

async function getToken() {
  const encoded = (text) => new URLSearchParams({ "": text }).toString().slice(1);
  const basic = Buffer.from(`${encoded(SECEVENT_CLIENT)}:${encoded(SECEVENT_SECRET)}`).toString("base64");
  const headers = { authorization: `Basic ${basic}`, "content-type": "application/x-www-form-urlencoded" };
  const { status, text } = await call(SECEVENT_TOKEN_URL, headers, "grant_type=client_credentials&scope=events.write");
  if (status !== 200) {
    fail(`no access token, status ${status}: ${text}`);
  }
  return JSON.parse(text).access_token;
}

async function send(event, key) {
  const headers = {
    authorization: `Bearer ${await getToken()}`,
    "content-type": "application/json",
    "idempotency-key": key,
  };
  return call(`${SECEVENT_ISSUER}/events`, headers, event);
}

function fail(problem) {
  console.error(problem);
  process.exit(1);
}

const [key, event] = [process.argv[2], readFileSync(0)];
let answer = await send(event, key);
if (answer.status === 401) {
  answer = await send(event, key); // The token has ended.
}
if (answer.status !== 202) {
  fail(`rejected, status ${answer.status}: ${answer.text}`);
}
console.log(answer.text);
