// Calls to the service over grpc-web, from the page's own address: a reader of Protocol Buffers for
// the messages of copydesk.v1 that the page needs. Field numbers are the contract's; fields that are
// not listed are passed over. Offsets are UTF-16 code units, as strings are indexed here.
const wire = (() => {
  'use strict';
  const SERVICE = 'copydesk.v1.ClassifierService';

  // Field number: name, type, and whether it is repeated or may be absent. A type is a message or
  // one of 'int', 'bool', 'float', 'string', 'bytes'.
  const many = (name, type) => ({ name, type, many: true });
  const one = (name, type) => ({ name, type, absent: true });
  const value = (name, type) => ({ name, type });
  const SPAN = { 5: value('start', 'int'), 6: value('end', 'int') };
  const TYPES = {
    1: value('quote', 'float'),
    2: value('background', 'float'),
    3: value('reaction', 'float'),
    4: value('boilerplate', 'float'),
    5: value('report', 'float'),
  };
  const SENTENCE = {
    1: value('index', 'int'),
    2: value('paragraph', 'int'),
    3: one('span', SPAN),
    4: value('text', 'string'),
    5: value('type', 'int'),
    6: one('scores', TYPES),
    7: many('quotations', { 1: one('span', SPAN), 2: value('kind', 'int') }),
    8: one('speaker', {
      1: value('text', 'string'),
      2: value('sentence', 'int'),
      3: one('span', SPAN),
      4: one('party', 'string'),
      5: value('inherited', 'bool'),
    }),
    9: many('parties', {
      1: value('party', 'string'),
      2: value('name', 'string'),
      3: value('sentiment', 'int'),
      5: many('mentions', { 1: one('span', SPAN) }),
    }),
  };
  const COUNTS = {
    1: value('negative', 'int'),
    2: value('neutral', 'int'),
    3: value('positive', 'int'),
    4: value('unspecified', 'int'),
  };
  const IDENTITY = { 1: value('id', 'string'), 2: value('revision', 'string') };
  const DURATION = { 1: value('seconds', 'int'), 2: value('nanos', 'int') };
  const SUMMARY = {
    1: one('model', IDENTITY),
    2: value('sentences', 'int'),
    4: many('parties', {
      1: value('id', 'string'),
      2: value('name', 'string'),
      3: many('aliases', 'string'),
      6: value('sentences', 'int'),
      7: one('counts', COUNTS),
    }),
    5: value('language', 'string'),
    6: value('supported', 'bool'),
    7: one('timings', { 4: one('total', DURATION) }),
  };
  const ARTICLE_RESPONSE = { 1: one('sentence', SENTENCE), 2: one('summary', SUMMARY) };
  const MODEL_RESPONSE = {
    1: one('model', { 1: one('identity', IDENTITY) }),
    2: one('limits', { 2: value('textBytes', 'int'), 5: value('parties', 'int') }),
  };
  const STATUS = { 3: many('details', { 1: value('type', 'string'), 2: value('value', 'bytes') }) };
  const DETAILS = {
    ErrorInfo: { 1: value('reason', 'string') },
    BadRequest: { 1: many('violations', { 1: value('field', 'string'), 2: value('description', 'string') }) },
    RetryInfo: { 1: one('delay', DURATION) },
  };
  const CODES = ['OK', 'CANCELLED', 'UNKNOWN', 'INVALID_ARGUMENT', 'DEADLINE_EXCEEDED', 'NOT_FOUND',
    'ALREADY_EXISTS', 'PERMISSION_DENIED', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION', 'ABORTED',
    'OUT_OF_RANGE', 'UNIMPLEMENTED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS', 'UNAUTHENTICATED'];

  // A call that failed. `code` is gRPC's, or UNREACHABLE, HTTP or BROKEN where there was none.
  class Failure extends Error {
    constructor(code, message, { reason = '', violations = [], retry = null } = {}) {
      super(message);
      Object.assign(this, { code, reason, violations, retry });
    }
  }
  const broken = (message) => new Failure('BROKEN', message);

  const milliseconds = ({ seconds, nanos }) => seconds * 1000 + nanos / 1e6;
  const text = new TextDecoder();

  function decode(schema, bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    const room = (count) => {
      if (count > bytes.length - at) throw broken('a message is cut off');
      at += count;
      return at - count;
    };
    // Exact up to 2^53, which no number here reaches.
    const varint = () => {
      let number = 0;
      for (let place = 1; ; place *= 128) {
        const byte = bytes[room(1)];
        number += (byte & 127) * place;
        if (byte < 128) return number;
        if (place > 2 ** 63) throw broken('a number is too long');
      }
    };
    const skip = { 0: varint, 1: () => room(8), 2: () => room(varint()), 5: () => room(4) };
    const expected = (type) => ({ int: 0, bool: 0, float: 5 })[type] ?? 2;
    const read = (type) => {
      if (type === 'int') return varint();
      if (type === 'bool') return varint() !== 0;
      if (type === 'float') return view.getFloat32(room(4), true);
      const length = varint();
      const from = room(length);
      const part = bytes.subarray(from, from + length);
      if (type === 'bytes') return part;
      return type === 'string' ? text.decode(part) : decode(type, part);
    };
    const message = {};
    for (const field of Object.values(schema)) {
      if (field.many) message[field.name] = [];
      else if (field.absent) message[field.name] = null;
      else message[field.name] = { string: '', bool: false, bytes: new Uint8Array() }[field.type] ?? 0;
    }
    while (at < bytes.length) {
      const key = varint();
      const field = schema[Math.floor(key / 8)];
      const kind = key % 8;
      if (field && kind === expected(field.type)) {
        const read_ = read(field.type);
        if (field.many) message[field.name].push(read_);
        else message[field.name] = read_;
      } else if (skip[kind]) {
        skip[kind]();
      } else {
        throw broken('a message cannot be read');
      }
    }
    return message;
  }

  const varint = (number) => {
    const bytes = [];
    for (; number > 127; number = Math.floor(number / 128)) bytes.push((number % 128) | 128);
    return [...bytes, number];
  };
  const joined = (parts) => {
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  };
  const field = (number, bytes) => joined([varint(number * 8 + 2), varint(bytes.length), bytes]);
  const words = (number, string) => field(number, new TextEncoder().encode(string));

  // parties: null to have them found, or [{ id, name, aliases }].
  function articleRequest({ headline, text, parties }) {
    const party = ({ id, name, aliases }) =>
      field(1, joined([words(1, id), words(2, name), ...aliases.map((alias) => words(3, alias))]));
    const article = [words(2, headline), words(3, text)];
    if (parties) article.push(field(5, joined(parties.map(party))));
    return field(1, joined(article));
  }

  // What headers or trailers say of the end: null for a good one.
  function failure(get) {
    const code = Number(get('grpc-status'));
    if (code === 0) return null;
    let message = get('grpc-message') || '';
    try {
      message = decodeURIComponent(message);
    } catch {
      // Then as it came.
    }
    const found = {};
    try {
      const binary = atob(get('grpc-status-details-bin') || '');
      const status = decode(STATUS, Uint8Array.from(binary, (c) => c.charCodeAt(0)));
      for (const { type, value } of status.details) {
        const schema = DETAILS[type.replace(/^.*google\.rpc\./, '')];
        if (schema) Object.assign(found, decode(schema, value));
      }
    } catch {
      // Code and message are enough to say what is wrong.
    }
    return new Failure(CODES[code] || 'UNKNOWN', message, {
      reason: found.reason,
      violations: found.violations,
      retry: found.delay ? milliseconds(found.delay) : null,
    });
  }

  function trailers(bytes) {
    const lines = text.decode(bytes).split('\r\n').map((line) => /^([^:]*):\s*(.*)$/.exec(line));
    const map = new Map(lines.filter(Boolean).map(([, name, value]) => [name.toLowerCase(), value]));
    if (!map.has('grpc-status')) throw broken('the answer ends without a status');
    return failure((name) => map.get(name));
  }

  // The frames of a body: a byte of flags, four of length, and what they say.
  async function* frames(body) {
    const reader = body.getReader();
    let held = [];
    let size = 0;
    let needed = 5;
    try {
      for (;;) {
        while (size >= needed) {
          const bytes = held.length === 1 ? held[0] : joined(held);
          const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
          needed = 5 + length;
          held = [bytes];
          if (size < needed) break;
          yield { flags: bytes[0], bytes: bytes.subarray(5, needed) };
          held = [bytes.subarray(needed)];
          size -= needed;
          needed = 5;
        }
        const { done, value } = await reader.read();
        if (done) {
          if (size > 0) throw broken('the answer is cut off');
          return;
        }
        held.push(value);
        size += value.length;
      }
    } finally {
      // Who reads no further hangs up.
      reader.cancel().catch(() => {});
    }
  }

  // The messages of an answer. Throws a Failure, or an AbortError where `signal` says so.
  async function* call(method, request, response, { token, signal }) {
    const headers = { 'content-type': 'application/grpc-web+proto', 'x-grpc-web': '1' };
    if (token) headers.authorization = `Bearer ${token}`;
    const length = new Uint8Array(5);
    new DataView(length.buffer).setUint32(1, request.length);
    let answer;
    try {
      // Relative, so that a proxy may put the page anywhere.
      answer = await fetch(`${SERVICE}/${method}`, {
        method: 'POST', headers, signal, body: joined([length, request]), cache: 'no-store',
      });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Failure('UNREACHABLE', String(error.message || error));
    }
    if (!answer.ok) throw new Failure('HTTP', `${answer.status} ${answer.statusText}`.trim());
    if (answer.headers.get('grpc-status') !== null) {
      const failed = failure((name) => answer.headers.get(name));
      if (failed) throw failed;
    }
    try {
      for await (const { flags, bytes } of frames(answer.body)) {
        if (flags & 1) throw broken('the answer is compressed');
        if (!(flags & 128)) {
          yield decode(response, bytes);
          continue;
        }
        const failed = trailers(bytes);
        if (failed) throw failed;
        return;
      }
    } catch (error) {
      if (error instanceof Failure || error.name === 'AbortError') throw error;
      throw broken(String(error.message || error));
    }
    throw broken('the answer ends without a status');
  }

  // Sentences and, at the end, the summary, as { sentence } or { summary }.
  const classify = (article, options) =>
    call('ClassifyArticle', articleRequest(article), ARTICLE_RESPONSE, options);

  // The model and its limits.
  async function model(options) {
    for await (const message of call('GetModel', new Uint8Array(), MODEL_RESPONSE, options)) {
      return message;
    }
    throw broken('no model was told');
  }

  return { classify, model, milliseconds, Failure };
})();
