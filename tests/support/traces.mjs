// Receives traces as a collector does: OTLP over HTTP, in protobuf.

import { once } from 'node:events';
import { createServer } from 'node:http';
import protobuf from 'protobufjs';

/** As much of opentelemetry/proto/collector/trace/v1 as is looked at here; the numbers are its. */
const { root } = protobuf.parse(`
  syntax = "proto3";
  message Request { repeated ResourceSpans resource_spans = 1; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
  message Resource { repeated KeyValue attributes = 1; }
  message ScopeSpans { repeated Span spans = 2; }
  message Span {
    bytes trace_id = 1; bytes span_id = 2; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
    fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9;
  }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; } }
`);
const Request = root.lookupType('Request');

/**
 * @typedef {object} Span
 * @property {string} service
 * @property {string} traceId
 * @property {string} spanId
 * @property {string} parentId empty where it has none
 * @property {string} name
 * @property {string} kind
 * @property {number} ms how long it took
 * @property {string} text all of it, to look for what must not be there
 */

const KINDS = ['', 'internal', 'server', 'client', 'producer', 'consumer'];

export class Traces {
  /** @type {Span[]} */
  spans = [];
  #server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    this.#take(Buffer.concat(chunks));
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
  });

  static async start() {
    const traces = new Traces();
    traces.#server.listen(0, '127.0.0.1');
    await once(traces.#server, 'listening');
    return traces;
  }

  /** Where spans are to be sent. */
  get url() {
    const { port } = /** @type {import('node:net').AddressInfo} */ (this.#server.address());
    return `http://127.0.0.1:${port}`;
  }

  /** @param {Buffer} body */
  #take(body) {
    const hex = (/** @type {Uint8Array} */ bytes) => Buffer.from(bytes).toString('hex');
    const request = /** @type {any} */ (Request.toObject(Request.decode(body), { defaults: true, longs: String }));
    for (const { resource, scopeSpans } of request.resourceSpans) {
      const service = resource.attributes.find((/** @type {any} */ { key }) => key === 'service.name').value.stringValue;
      for (const span of scopeSpans.flatMap((/** @type {any} */ scope) => scope.spans)) {
        this.spans.push({
          service,
          traceId: hex(span.traceId),
          spanId: hex(span.spanId),
          parentId: hex(span.parentSpanId),
          name: span.name,
          kind: KINDS[span.kind],
          ms: Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6,
          text: JSON.stringify(span),
        });
      }
    }
  }

  /** @param {Span} span @returns {Span[]} those above it, the nearest first */
  above(span) {
    const parent = this.spans.find(({ spanId, traceId }) => spanId === span.parentId && traceId === span.traceId);
    return parent ? [parent, ...this.above(parent)] : [];
  }

  /** A trace as a tree, for people. @param {string} traceId */
  draw(traceId) {
    const spans = this.spans.filter((span) => span.traceId === traceId);
    const known = new Set(spans.map(({ spanId }) => spanId));
    const branch = (/** @type {Span} */ span, /** @type {string} */ indent) => {
      /** @type {string[]} */
      const lines = [`${indent}${span.service}: ${span.name} (${span.kind}, ${span.ms.toFixed(1)} ms)`];
      for (const child of spans.filter(({ parentId }) => parentId === span.spanId)) lines.push(...branch(child, `${indent}  `));
      return lines;
    };
    return spans.filter(({ parentId }) => !known.has(parentId)).flatMap((span) => branch(span, '')).join('\n');
  }

  async stop() {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }
}
