// Streams an article and prints its sentences as they come:
//
//   node classify.mjs http://127.0.0.1:50051 ../articles/diplomacy.txt

import { readFile } from "node:fs/promises";

import { classify, connect, sentimentName, typeName } from "./copydesk.mjs";

const [url, file] = process.argv.slice(2);
if (!url || !file) {
  console.error("usage: node classify.mjs URL FILE");
  process.exit(2);
}

const article = { content: { case: "text", value: await readFile(file, "utf8") } };
try {
  for await (const { case: kind, value } of classify(connect(url), article)) {
    if (kind === "sentence") {
      const text = value.text.replace(/\s+/g, " ");
      console.log(`${String(value.index + 1).padStart(3)}  ${typeName(value.type).padEnd(12)} ${text}`);
      if (value.speaker) console.log(`     speaker: ${value.speaker.text}`);
      const parties = value.parties.map((p) => `${p.name} ${sentimentName(p.sentiment)}`);
      if (parties.length > 0) console.log(`     parties: ${parties.join(", ")}`);
    } else if (kind === "summary") {
      console.log(`\n${value.sentenceCount} sentences, ${value.parties.length} parties`);
    } else {
      console.log("\n(the answer broke off and begins anew)\n");
    }
  }
} catch (error) {
  console.error(`${file}: ${error.message}`);
  process.exitCode = 1;
}
