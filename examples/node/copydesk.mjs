// A client of copydesk over gRPC, for Node.js services. The contract is read as it starts, so there is
// nothing to generate: take `proto` and `service_config.json` along. JavaScript strings are indexed by
// `span.utf16Start` and `span.utf16End`.

import { readFileSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const proto = path("../../proto");

const definition = loader.loadSync("copydesk/v1/classifier.proto", {
  includeDirs: [proto, `${proto}/third_party`],
  defaults: true,
  oneofs: true,
  enums: String,
  longs: Number,
});

/** The client's class as grpc-js makes it from the contract. */
export const { ClassifierService } = grpc.loadPackageDefinition(definition).copydesk.v1;

/** When gRPC tries again by itself. Stock clients do so only if they are given such a file. */
const serviceConfig = readFileSync(path("../service_config.json"), "utf8");

/**
 * A client of the server at `url`: http://host:port, or https://host:port for TLS. `ca` (PEM) then stands
 * in for the authorities that Node.js trusts; `cert` and `key` (PEM) are shown to a server that asks for
 * them. `token` is what lets the client in; it goes over TLS or stays on this machine.
 */
export function connect(url, { ca, cert, key, token } = {}) {
  const { protocol, hostname, host, port, pathname } = new URL(url);
  const tls = protocol === "https:";
  if ((!tls && protocol !== "http:") || pathname !== "/") {
    throw new Error(`${url} is no address of a server; use http://host:port`);
  }
  if (!tls && (ca || cert || key)) throw new Error(`${url} is plain text, where no certificate is looked at`);
  if (Boolean(cert) !== Boolean(key)) throw new Error("a certificate and its key go together");
  if (token && !tls && !isLoopback(hostname)) {
    throw new Error(`${url} is plain text, where everyone on the way could read the token`);
  }
  const credentials = tls
    ? grpc.credentials.createSsl(ca ?? null, key ?? null, cert ?? null)
    : grpc.credentials.createInsecure();
  const service = new ClassifierService(port ? host : `${host}:${tls ? 443 : 80}`, credentials, {
    "grpc.service_config": serviceConfig,
    // What is kept of a request so that it can be sent again; above `Limits.request_bytes`.
    "grpc.per_rpc_retry_buffer_size": 16 << 20,
    // Above any answer: the summary of the largest article names each of its mentions.
    "grpc.max_receive_message_length": 64 << 20,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2_000,
  });
  const metadata = new grpc.Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  return { service, metadata, close: () => service.close() };
}

/**
 * The answer as it comes: `{case: "sentence" | "summary", value}`. gRPC itself tries again while nothing
 * has come. If the answer breaks off before its summary, which nothing else would repair, the article is
 * sent again, and `{case: "restart"}` says to drop the sentences that came before. `timeout` is in
 * milliseconds, for all tries together.
 */
export async function* classify({ service, metadata }, article, { options, timeout = 300_000, tries = 6 } = {}) {
  const deadline = Date.now() + timeout;
  for (let wait = 250; ; wait = Math.min(2 * wait, 5_000)) {
    const call = service.classifyArticle({ article, options }, metadata, { deadline });
    // Whoever leaves early cancels the call, and nobody is there any more to be told so.
    call.on("error", () => {});
    let came = false;
    let whole = false;
    let error;
    try {
      for await (const message of call) {
        // Whatever a later version may send beside these is passed over.
        if (!message.event) continue;
        yield { case: message.event, value: message[message.event] };
        came = true;
        whole = message.event === "summary";
      }
      error = Object.assign(new Error("the answer broke off before its summary"), { code: grpc.status.UNAVAILABLE });
    } catch (reason) {
      error = reason;
    } finally {
      call.cancel();
    }
    if (whole) return;
    const pushback = Number(error.metadata?.get("grpc-retry-pushback-ms")[0]);
    const pause = pushback || wait * (0.8 + 0.4 * Math.random());
    // Whoever is given a slot is in a queue, and goes on until the deadline.
    if (!pushback) tries -= 1;
    if (tries <= 0 || !worthAnother(error) || Date.now() + pause >= deadline) throw error;
    await sleep(pause);
    if (came) yield { case: "restart" };
  }
}

/** No room, a server that went away, a connection that broke: another try may go well. */
function worthAnother({ code, metadata }) {
  // A connection that breaks may show as these too, and then without details of copydesk's.
  const broke = [grpc.status.INTERNAL, grpc.status.UNKNOWN, grpc.status.CANCELLED].includes(code);
  return code === grpc.status.UNAVAILABLE || (broke && !metadata?.get("grpc-status-details-bin").length);
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Where nobody is on the way who could read a token. */
function isLoopback(hostname) {
  const address = hostname.replace(/^\[|\]$/g, "");
  const family = isIP(address);
  return hostname === "localhost" || (family !== 0 && loopback.check(address, `ipv${family}`));
}

/** The name of a label without its enum's: SENTENCE_TYPE_QUOTE is "quote". */
export const label = (name) => name.replace(/^(SENTENCE_TYPE|SENTIMENT|QUOTATION_KIND)_/, "").toLowerCase();
