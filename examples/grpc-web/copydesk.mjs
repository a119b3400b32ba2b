// A client of copydesk over grpc-web, the protocol that browsers can speak. In a page, take
// `createGrpcWebTransport` of `@connectrpc/connect-web` instead; all else stays as it is. JavaScript
// strings are indexed by `span.utf16Start` and `span.utf16End`.

import { setTimeout as sleep } from "node:timers/promises";

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-node";

import { SentenceTypeSchema, SentimentSchema } from "./gen/copydesk/v1/answer_pb.js";
import { ClassifierService } from "./gen/copydesk/v1/classifier_pb.js";

/** A client of the server at `url`. Plain grpc-web is HTTP/1.1, so that no TLS is needed. */
export function connect(url) {
  return createClient(ClassifierService, createGrpcWebTransport({ baseUrl: url, httpVersion: "1.1" }));
}

/**
 * The answer as it comes: `{case: "sentence" | "summary", value}`. If it breaks off before its
 * summary, or the server has no room, the article is sent again, and `{case: "restart"}` says to
 * drop the sentences that came before. `timeout` is in milliseconds, for all tries together.
 */
export async function* classify(client, article, { options, timeout = 300_000, tries = 6 } = {}) {
  const end = Date.now() + timeout;
  for (let wait = 200; ; wait = Math.min(2 * wait, 5_000)) {
    const left = new AbortController();
    const limits = { timeoutMs: Math.max(end - Date.now(), 1), signal: left.signal };
    const answers = client.classifyArticle({ article, options }, limits)[Symbol.asyncIterator]();
    let whole = false;
    let error;
    try {
      for await (const { event } of { [Symbol.asyncIterator]: () => answers }) {
        // Whatever a later version may send beside these is passed over.
        if (event.case === undefined) continue;
        yield event;
        whole = event.case === "summary";
      }
      if (whole) return;
      error = new ConnectError("the answer broke off before its summary", Code.Unavailable);
    } catch (reason) {
      error = ConnectError.from(reason);
    } finally {
      left.abort();
      await forget(answers);
    }
    const pause = (Number(error.metadata.get("grpc-retry-pushback-ms")) || wait) * (0.8 + 0.4 * Math.random());
    tries -= 1;
    if (tries <= 0 || !worthAnother(error) || Date.now() + pause >= end) throw error;
    await sleep(pause);
    yield { case: "restart" };
  }
}

/** Leaving early does not end a call by itself, nor its timer: it wants to be read to its end. */
async function forget(answers) {
  try {
    while (!(await answers.next()).done);
  } catch {
    // It was hung up on.
  }
}

/** No room, a server that went away, a connection that broke: another try may go well. */
function worthAnother(error) {
  // A connection that breaks may show as these too, and then without details of copydesk's.
  const broke = [Code.Aborted, Code.Internal, Code.Unknown].includes(error.code);
  return error.code === Code.Unavailable || (broke && error.details.length === 0);
}

/** The name of a type without its enum's: SENTENCE_TYPE_QUOTE is "quote". */
export const typeName = (value) => SentenceTypeSchema.value[value]?.localName.toLowerCase() ?? "unspecified";

/** The same of a sentiment. */
export const sentimentName = (value) => SentimentSchema.value[value]?.localName.toLowerCase() ?? "unspecified";
