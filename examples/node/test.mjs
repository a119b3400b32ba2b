// The client against the real server: node --test test.mjs
//
// COPYDESK_BIN names the server's binary; otherwise it is looked for where cargo puts it. The tiny
// model of the Rust tests answers: its labels are nonsense, but shapes, places and errors are right.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import grpc from "@grpc/grpc-js";
import { generate } from "selfsigned";

import { ClassifierService, classify, connect, label } from "./copydesk.mjs";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const text = "The league met in Port Ellis 🦊. “We go,” said Ida Brandt.\n\nOster 🦊🦊 blamed Norland.";
const sentence = "The league met in Port Ellis and left again in the morning. ";
const token = "correct-horse-battery";

const servers = new Set();
let server;
let folder;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "copydesk-"));
  server = await start();
});

after(async () => {
  for (const process of servers) process.kill("SIGKILL");
  await rm(folder, { recursive: true });
});

/** A server process, and where it listens. */
async function start(flags = [], address = "127.0.0.1:0") {
  const built = ["debug", "release"].map((kind) => path(`../../target/${kind}/copydesk`));
  const binary = process.env.COPYDESK_BIN ?? built.find(existsSync);
  assert.ok(binary, "no server; `cargo build` first, or set COPYDESK_BIN");
  const own = ["--addr", address, "--model", path("../../tests/fixtures/tiny"), "--log-format", "json"];
  const child = spawn(binary, ["serve", ...own, ...flags], { stdio: ["ignore", "ignore", "pipe"] });
  servers.add(child);
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

async function file(name, content) {
  const place = join(folder, name);
  await writeFile(place, content);
  return place;
}

/** Asks one article of a server, and closes the client. */
async function ask(url, article, settings = {}, limits = {}) {
  const client = connect(url, settings);
  try {
    return await collect(classify(client, article, limits));
  } finally {
    client.close();
  }
}

async function collect(events) {
  const sentences = [];
  for await (const { case: kind, value } of events) {
    if (kind === "sentence") sentences.push(value);
    else if (kind === "restart") sentences.length = 0;
    else return { sentences, summary: value };
  }
}

test("sentences stream, then the summary, and places index JavaScript's strings", async () => {
  const { sentences, summary } = await ask(server.url, { text });
  assert.deepEqual(sentences.map((s) => s.index), [0, 1, 2]);
  assert.equal(summary.sentenceCount, 3);
  for (const { span, text: words, type } of sentences) {
    assert.equal(text.slice(span.utf16Start, span.utf16End), words);
    assert.match(label(type), /^(quote|background|reaction|boilerplate|report)$/);
  }
});

test("the first sentence comes before the article is read, and one may leave then", async () => {
  const client = connect(server.url);
  for await (const event of classify(client, { text: sentence.repeat(5_000) })) {
    assert.equal(event.case, "sentence");
    break;
  }
  client.close();
});

test("parties named by the caller are judged, and no others", async () => {
  const parties = { items: [{ id: "o", name: "Oster" }] };
  const { sentences, summary } = await ask(server.url, { text, parties });
  const [{ mentions, sentiment }] = sentences[2].parties;
  assert.equal(text.slice(mentions[0].span.utf16Start, mentions[0].span.utf16End), "Oster");
  assert.match(label(sentiment), /^(negative|neutral|positive)$/);
  assert.deepEqual(summary.parties.map((p) => p.id), ["o"]);
});

test("options are sent", async () => {
  const { summary } = await ask(server.url, { text: "Rain." }, {}, { options: { minConfidence: 1 } });
  assert.equal(summary.typeCounts.unspecified, 1);
});

test("what is wrong with a request is told", async () => {
  await assert.rejects(ask(server.url, { text: " " }), (error) => {
    assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
    assert.ok(error.metadata.get("grpc-status-details-bin").length);
    return true;
  });
});

test("a deadline passes", async () => {
  const asked = ask(server.url, { text: sentence.repeat(10_000) }, {}, { timeout: 300 });
  await assert.rejects(asked, (error) => error.code === grpc.status.DEADLINE_EXCEEDED);
});

test("a burst of ten times what is let in is answered by the service config", async () => {
  const small = await start(["--max-queue-tokens", "2048", "--workers", "1"]);
  const count = Math.floor((10 * 1024) / 96);
  /** The codes of that many calls at once, without any try of ours. */
  const burst = async (service) => {
    const one = () =>
      new Promise((resolve) => {
        let came = 0;
        const call = service.classifyArticle({ article: { text: sentence.repeat(4) } }, { deadline: Date.now() + 120_000 });
        call.on("data", () => (came += 1));
        call.on("error", () => {});
        call.on("status", ({ code }) => resolve(`${grpc.status[code]} ${came}`));
      });
    const codes = new Set(await Promise.all(Array.from({ length: count }, one)));
    service.close();
    return codes;
  };
  const insecure = grpc.credentials.createInsecure();
  const never = new ClassifierService(small.address, insecure, { "grpc.enable_retries": 0 });
  assert.ok((await burst(never)).has("UNAVAILABLE 0"), "the queue was never full");
  assert.deepEqual(await burst(connect(small.url).service), new Set(["OK 5"]));
});

test("an answer that breaks off begins anew", async () => {
  let own = await start();
  const client = connect(own.url);
  const kinds = [];
  for await (const { case: kind, value } of classify(client, { text: sentence.repeat(300) })) {
    kinds.push(kind);
    if (kinds.length === 1) {
      own.process.kill("SIGKILL");
      own = await start([], own.address);
    }
    if (kind === "summary") assert.equal(value.sentenceCount, 300);
  }
  client.close();
  assert.notEqual(kinds.lastIndexOf("restart"), -1);
  const whole = kinds.slice(kinds.lastIndexOf("restart") + 1);
  assert.equal(whole.length, 301);
  assert.equal(whole.at(-1), "summary");
});

test("TLS, certificates and tokens", async () => {
  const issue = (name) =>
    generate([{ name: "commonName", value: name }], {
      keySize: 2048,
      algorithm: "sha256",
      extensions: [{ name: "subjectAltName", altNames: [{ type: 2, value: "localhost" }] }],
    });
  const [ours, theirs] = [await issue("server"), await issue("client")];
  const flags = [
    "--tls-cert", await file("server.pem", ours.cert),
    "--tls-key", await file("server.key", ours.private),
    "--tls-client-ca", await file("client.pem", theirs.cert),
    "--auth-tokens", await file("tokens", `${token}\n`),
  ];
  const secure = await start(flags);
  const url = `https://localhost:${secure.address.split(":").at(-1)}`;
  const settings = { ca: Buffer.from(ours.cert), cert: Buffer.from(theirs.cert), key: Buffer.from(theirs.private), token };
  assert.equal((await ask(url, { text }, settings)).summary.sentenceCount, 3);

  const fails = (code, changed) =>
    assert.rejects(ask(url, { text }, { ...settings, ...changed }, { tries: 1, timeout: 20_000 }), (error) => {
      assert.equal(grpc.status[error.code], code);
      return true;
    });
  await fails("UNAUTHENTICATED", { token: undefined });
  await fails("UNAVAILABLE", { ca: undefined });
  await fails("UNAVAILABLE", { cert: undefined, key: undefined });

  // The same by the command's flags.
  const named = ["--ca", "server.pem", "--cert", "client.pem", "--key", "client.key", "--token-file", "tokens"];
  await file("client.key", theirs.private);
  const ran = await run(["--server", url, ...named.map((n) => (n.startsWith("--") ? n : join(folder, n))), await file("a.txt", text)]);
  assert.match(ran.stdout, /\n3 sentences: /);
});

test("what makes no sense is told", () => {
  for (const [url, settings] of [
    ["127.0.0.1:50051", {}],
    ["ftp://127.0.0.1", {}],
    ["http://127.0.0.1:50051", { ca: Buffer.from("") }],
    ["http://192.0.2.1:50051", { token }],
    ["https://127.0.0.1:50051", { cert: Buffer.from("") }],
  ]) {
    assert.throws(() => connect(url, settings), Error, url);
  }
  for (const url of ["http://localhost:1", "http://127.0.0.9:1", "http://[::1]:1"]) connect(url, { token }).close();
});

const run = (flags) => promisify(execFile)(process.execPath, [path("classify.mjs"), ...flags]);

test("the command prints each sentence, and tells what fails", async () => {
  const { stdout } = await run(["--server", server.url, path("../articles/diplomacy.txt")]);
  assert.match(stdout, /\n {2}1 {2}\w+ +REYKJAVIK/);
  assert.match(stdout, /\n32 sentences: /);
  await assert.rejects(run(["--server", server.url, await file("blank.txt", " ")]), (error) => {
    assert.equal(error.code, 1);
    assert.match(error.stderr, /blank\.txt: INVALID_ARGUMENT: /);
    return true;
  });
  await assert.rejects(run([]), (error) => error.code === 2 && error.stderr.includes("usage: "));
});
