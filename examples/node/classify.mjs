// Streams articles and prints their sentences as they come:
//
//   node classify.mjs ../articles/diplomacy.txt
//   node classify.mjs --server https://copydesk.example:50051 --token-file token article.txt
//
// Exit codes: 0 done, 1 something failed, 2 wrong arguments.

import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import grpc from "@grpc/grpc-js";

import { classify, connect, label } from "./copydesk.mjs";

const usage = `usage: node classify.mjs [OPTIONS] FILE...
  --server URL       http://host:port, or https:// for TLS (http://127.0.0.1:50051)
  --ca FILE          PEM of the authority that vouches for the server
  --cert FILE        PEM, shown to a server that asks for one
  --key FILE         PEM, of --cert
  --token-file FILE  what lets the client in
  --timeout SECONDS  for one article (300)`;

let client;
let files;
let timeout;
try {
  const flag = { type: "string" };
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { server: flag, ca: flag, cert: flag, key: flag, "token-file": flag, timeout: flag },
  });
  files = positionals;
  timeout = Number(values.timeout ?? 300) * 1000;
  if (files.length === 0) throw new Error("no FILE is named");
  if (!(timeout > 0)) throw new Error(`--timeout ${values.timeout} is no number of seconds`);
  const read = async (name) => (name === undefined ? undefined : await readFile(name));
  client = connect(values.server ?? "http://127.0.0.1:50051", {
    ca: await read(values.ca),
    cert: await read(values.cert),
    key: await read(values.key),
    token: (await read(values["token-file"]))?.toString().trim(),
  });
} catch (error) {
  console.error(`${error.message}\n\n${usage}`);
  process.exit(2);
}

for (const file of files) {
  console.log(`${file}\n`);
  try {
    for await (const event of classify(client, { text: await readFile(file, "utf8") }, { timeout })) print(event);
  } catch (error) {
    const code = grpc.status[error.code];
    console.error(`${file}: ${code ? `${code}: ${error.details || error.message}` : error.message}`);
    process.exitCode = 1;
  }
}
client.close();

function print({ case: kind, value }) {
  if (kind === "sentence") {
    console.log(`${String(value.index + 1).padStart(3)}  ${label(value.type).padEnd(12)} ${value.text.replace(/\s+/g, " ")}`);
    if (value.speaker) console.log(`     speaker: ${value.speaker.text}`);
    const parties = value.parties.map((party) => `${party.name} ${label(party.sentiment)}`);
    if (parties.length > 0) console.log(`     parties: ${parties.join(", ")}`);
  } else if (kind === "summary") {
    const found = Object.entries(value.typeCounts).filter(([, count]) => count > 0);
    const counts = found.map(([type, count]) => `${count} ${type}`);
    console.log(`\n${value.sentenceCount} sentences: ${counts.join(", ")}\n`);
  } else {
    console.log("\n(the answer broke off and begins anew)\n");
  }
}
