// The grpc-web client against the real server: node --test test.mjs
//
// COPYDESK_BIN names the server's binary; otherwise it is looked for where cargo puts it. The tiny
// model of the Rust tests answers: its labels are nonsense, but shapes, places and errors are right.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import http from "node:http";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Code, ConnectError } from "@connectrpc/connect";

import { classify, connect, typeName } from "./copydesk.mjs";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const text = "The league met in Port Ellis 🦊. “We go,” said Ida Brandt.\n\nOster 🦊🦊 blamed Norland.";
const article = (value, parties) => ({ content: { case: "text", value }, parties });

let server;

before(async () => {
  server = await start();
});

after(() => server?.process.kill("SIGKILL"));

/** A server process, and where it listens. */
async function start(address = "127.0.0.1:0") {
  const built = ["debug", "release"].map((kind) => path(`../../target/${kind}/copydesk`));
  const binary = process.env.COPYDESK_BIN ?? built.find(existsSync);
  assert.ok(binary, "no server; `cargo build` first, or set COPYDESK_BIN");
  const flags = ["--addr", address, "--model", path("../../tests/fixtures/tiny"), "--log-format", "json"];
  const child = spawn(binary, ["serve", ...flags], { stdio: ["ignore", "ignore", "pipe"] });
  const found = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    createInterface(child.stderr).on("line", (line) => {
      const { fields } = JSON.parse(line);
      if (fields?.message === "listening") resolve(fields.address);
    });
  });
  return { process: child, address: found, url: `http://${found}` };
}

async function collect(events) {
  const sentences = [];
  for await (const { case: kind, value } of events) {
    if (kind === "sentence") sentences.push(value);
    else if (kind === "restart") sentences.length = 0;
    else return { sentences, summary: value };
  }
}

/** A request as a browser makes it, without a library between. */
function request(method, target, headers, body) {
  return new Promise((resolve, reject) => {
    const sent = http.request(server.url + target, { method, headers }, async (answer) => {
      const chunks = await answer.toArray();
      resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks) });
    });
    sent.once("error", reject);
    sent.end(body);
  });
}

test("sentences stream, then the summary", async () => {
  const { sentences, summary } = await collect(classify(connect(server.url), article(text)));
  assert.deepEqual(sentences.map((s) => s.index), [0, 1, 2]);
  assert.equal(summary.sentenceCount, 3);
  for (const { span, text: words, type } of sentences) {
    assert.equal(text.slice(span.utf16Start, span.utf16End), words);
    assert.notEqual(typeName(type), "unspecified");
  }
});

test("the first sentence comes before the article is read", async () => {
  const long = "The league met in Port Ellis and left again in the morning. ".repeat(5_000);
  for await (const event of classify(connect(server.url), article(long))) {
    assert.equal(event.case, "sentence");
    break;
  }
});

test("parties named by the caller are judged, and no others", async () => {
  const parties = { items: [{ id: "o", name: "Oster" }] };
  const { sentences, summary } = await collect(classify(connect(server.url), article(text, parties)));
  const [party] = sentences[2].parties;
  const [{ span }] = party.mentions;
  assert.equal(text.slice(span.utf16Start, span.utf16End), "Oster");
  assert.deepEqual(summary.parties.map((p) => p.id), ["o"]);
});

test("what is wrong with a request is told", async () => {
  await assert.rejects(collect(classify(connect(server.url), article(" "))), (error) => {
    assert.ok(error instanceof ConnectError);
    assert.equal(error.code, Code.InvalidArgument);
    const types = error.details.map((detail) => detail.type);
    assert.deepEqual(types.sort(), ["google.rpc.BadRequest", "google.rpc.ErrorInfo"]);
    return true;
  });
});

test("a deadline passes", async () => {
  const long = "The league met in Port Ellis and left again in the morning. ".repeat(10_000);
  const asked = collect(classify(connect(server.url), article(long), { timeout: 300 }));
  await assert.rejects(asked, (error) => error.code === Code.DeadlineExceeded);
});

test("the model tells its limits", async () => {
  const { model, limits } = await connect(server.url).getModel({});
  assert.equal(model.identity.revision, "fixture");
  assert.ok(limits.textBytes > 0);
});

test("an answer that breaks off begins anew", async () => {
  let own = await start();
  try {
    const sentence = "The league met in Port Ellis and left again in the morning. ";
    const kinds = [];
    for await (const { case: kind, value } of classify(connect(own.url), article(sentence.repeat(300)))) {
      kinds.push(kind);
      if (kinds.length === 1) {
        own.process.kill("SIGKILL");
        own = await start(own.address);
      }
      if (kind === "summary") assert.equal(value.sentenceCount, 300);
    }
    const whole = kinds.slice(kinds.lastIndexOf("restart") + 1);
    assert.notEqual(kinds.lastIndexOf("restart"), -1);
    assert.equal(whole.length, 301);
    assert.equal(whole.at(-1), "summary");
  } finally {
    own.process.kill("SIGKILL");
  }
});

test("a browser may call from any page", async () => {
  const wanted = ["content-type", "x-grpc-web", "grpc-timeout"];
  const asked = await request("OPTIONS", "/copydesk.v1.ClassifierService/ClassifyArticle", {
    origin: "https://newsroom.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": wanted.join(","),
  });
  const list = (answer, name) => (answer.headers[name] ?? "").toLowerCase().split(/\s*,\s*/);
  assert.ok([200, 204].includes(asked.status), `status ${asked.status}`);
  assert.equal(asked.headers["access-control-allow-origin"], "*");
  assert.ok(list(asked, "access-control-allow-methods").includes("post"));
  for (const name of wanted) assert.ok(list(asked, "access-control-allow-headers").includes(name), name);
  assert.equal(asked.body.length, 0);

  // The call itself: an empty message, so an error, whose status a page must be able to read.
  const called = await request(
    "POST",
    "/copydesk.v1.ClassifierService/ClassifyArticle",
    { origin: "https://newsroom.example", "content-type": "application/grpc-web+proto", "x-grpc-web": "1" },
    Buffer.alloc(5),
  );
  assert.equal(called.status, 200);
  assert.equal(called.headers["access-control-allow-origin"], "*");
  assert.match(called.headers["content-type"], /^application\/grpc-web/);
  const status = called.headers["grpc-status"] ?? /grpc-status:\s*(\d+)/.exec(called.body.toString("latin1"))?.[1];
  assert.equal(Number(status), Code.InvalidArgument);
  for (const name of ["grpc-status", "grpc-message", "grpc-status-details-bin"]) {
    assert.ok(list(called, "access-control-expose-headers").includes(name), name);
  }
});

test("the command prints each sentence", async () => {
  const run = promisify(execFile);
  const script = [path("classify.mjs"), server.url, path("../articles/diplomacy.txt")];
  const { stdout } = await run(process.execPath, script);
  assert.match(stdout, /^ {2}1 {2}\w+/);
  assert.match(stdout, /\n\d+ sentences, \d+ parties\n$/);
});
