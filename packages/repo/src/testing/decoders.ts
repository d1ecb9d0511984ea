/** Every decoder of stored bytes, each with valid examples, for tests that feed them what is not valid. */
import { gunzipSync, gzipSync } from "node:zlib";
import { fromUtf8, utf8 } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { createErrorCorrection, REED_SOLOMON } from "@drayage/kernels";
import { decodePostamble, encodePostamble } from "../content/pack-layout.ts";
import { decodeBlobConfig } from "../format/blob-config.ts";
import { decodeBlockFormat } from "../format/block-format.ts";
import { decodeFormatBlob, frameFormatBlob, unframeFormatBlob } from "../format/format-blob.ts";
import { JsonReader, parseJsonObject } from "../format/go-json.ts";
import { decodeIndex, encodeIndex } from "../index-blobs/index-codec.ts";
import type { IndexEntry } from "../index-blobs/pack-index.ts";
import { decodeMaintenanceParameters } from "../maintenance/maintain-repository.ts";
import { maintenanceParameters } from "../maintenance/maintenance-parameters.ts";
import { decodeSchedule, encodeSchedule } from "../maintenance/maintenance-schedule.ts";
import { decodeManifestContent, encodeManifestContent } from "../manifest/manifest-content.ts";
import { decodeIndirectList, encodeIndirectList } from "../object/indirect-list.ts";
import { objectIdOf, parseObjectId } from "../object/object-id.ts";
import { defaultPolicy } from "../policy/default-policy.ts";
import { mergePolicies } from "../policy/effective-policy.ts";
import { decodePolicy, encodePolicy } from "../policy/policy-document.ts";
import { globalTarget } from "../policy/policy-target.ts";
import { veleroPathPolicy } from "../policy/velero-policy.ts";
import { parseWildcard } from "../policy/wildcard.ts";
import { DirectoryListing } from "../snapshot/directory-listing.ts";
import { decodeSnapshot } from "../snapshot/snapshot-manifest.ts";
import { bytesOfHex, golden } from "./golden.ts";

export interface Decoder {
  readonly name: string;
  readonly examples: readonly Uint8Array[];
  /** Decodes to the end: whatever is lazy is asked for. */
  decode(bytes: Uint8Array): unknown;
}

const vector = golden.formatBlob["scrypt-65536-8-1"];
const EPOCH_S = 1_760_000_000;

function indexEntries(): IndexEntry[] {
  return Array.from({ length: 5 }, (_, i) => ({
    key: Uint8Array.from({ length: 17 }, (_byte, at) => (at === 0 ? 0 : i * 16 + at)),
    packBlobId: `p${"0".repeat(31)}${i % 2}-s0011223344556677147`,
    packOffset: 32 + 200 * i,
    packedLength: 128,
    originalLength: 100,
    compressionId: 0,
    formatVersion: 1,
    timestampSeconds: EPOCH_S + i,
    deleted: i === 3,
  }));
}

/** A listing with everything that ours can hold. */
const LISTING = utf8(
  `{"stream":"kopia:directory","entries":[{"name":"dir","type":"d","mode":"0755","mtime":"2023-11-14T22:13:28.008008008Z","obj":"k38fbfe9e6a5be3353829a73685eafa7e","summ":{"size":4,"files":1,"symlinks":0,"dirs":2,"maxTime":"2023-11-14T22:13:22Z","numFailed":1,"errors":[{"path":"a","error":"b"}]}},{"name":"caf\\ufffd","type":"f","mode":"040000755","size":12,"uid":1000,"gid":1001,"obj":"b0de5b92e204a18bad9f73e7fdc7306f","drayage":{"name":"Y2Fm6Q==","link":"131075","holes":[[0,4],[8,4]],"xattrs":{"user.a":"AQI="}}}],"summary":{"size":16,"files":2,"symlinks":0,"dirs":3,"maxTime":"2023-11-14T22:13:31.011Z","numFailed":0},"drayage":{"version":1,"xattrs":{"user.d":""},"special":[{"name":"pipe","kind":"fifo","mode":"0644"},{"name":"disk","kind":"block","device":"8:1"}]}}\n`,
);

const SNAPSHOT =
  '{"id":"","source":{"host":"host","userName":"user","path":"/data"},"description":"tiny","startTime":"2024-01-02T03:04:05Z","endTime":"2024-01-02T03:05:06Z","stats":{"totalSize":408022,"fileCount":7,"errorCount":0},"incomplete":"checkpoint","rootEntry":{"name":"tiny","type":"d","mode":"0755","mtime":"2023-11-14T22:13:20Z","obj":"k3d658577e7cebd5a8db522d5caca0698","summ":{"size":1,"files":7,"symlinks":1,"dirs":4,"maxTime":"2023-11-14T22:13:31Z","numFailed":0}},"tags":{"tag:env":"test"},"pins":["keep"]}';

const manifests = encodeManifestContent([
  { id: "a".repeat(32), labels: { type: "snapshot", path: "/p" }, modifiedNs: 5n, deleted: false, data: SNAPSHOT },
  { id: "b".repeat(32), labels: {}, modifiedNs: 6n, deleted: true, data: "null" },
]);

function readIndex(bytes: Uint8Array): unknown {
  const index = decodeIndex(bytes);
  // No more entries than the bytes can hold: a decoder that believed a count would be seen here.
  if (index.entryCount > bytes.length) throw new Error(`${index.entryCount} entries in ${bytes.length} bytes`);
  for (let position = 0; position < index.entryCount; position++) index.entryAt(position);
  return index.find(new Uint8Array(17));
}

/** In one piece and in several: listings are read both ways. */
async function inPieces(bytes: Uint8Array, read: (pieces: AsyncIterable<Uint8Array>) => Promise<unknown>): Promise<unknown> {
  const cut = Math.floor(bytes.length / 2);
  const pieces = async function* (...parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
    yield* parts;
  };
  const whole = await read(pieces(bytes)).catch((error: unknown) => ({ error }));
  const split = await read(pieces(bytes.subarray(0, cut), bytes.subarray(cut))).catch((error: unknown) => ({ error }));
  for (const outcome of [whole, split]) if (typeof outcome === "object" && outcome !== null && "error" in outcome) throw outcome.error;
  return whole;
}

async function readListing(pieces: AsyncIterable<Uint8Array>): Promise<unknown> {
  const reader = { pieces: () => pieces } as unknown as ConstructorParameters<typeof DirectoryListing>[0];
  const listing = new DirectoryListing(reader, objectIdOf("k00"));
  let entries = 0;
  for await (const batch of listing.batches()) entries += batch.length;
  return [entries, listing.summary, listing.extension];
}

async function readIndirect(pieces: AsyncIterable<Uint8Array>): Promise<unknown> {
  let end = 0;
  for await (const { length, objectId } of decodeIndirectList(pieces, "a list")) {
    end += length;
    parseObjectId(objectId);
  }
  return end;
}

const correction = createErrorCorrection(REED_SOLOMON, 10);

function corrected(length: number): Uint8Array {
  const stored = new Uint8Array(correction.storedLength(length));
  correction.encode(seededRandom(length).bytes(length), stored, 0);
  return stored;
}

export const decoders: readonly Decoder[] = [
  { name: "kopia.repository", examples: [utf8(vector["kopia.repository"])], decode: decodeFormatBlob },
  { name: "block format", examples: [utf8(vector.inner)], decode: decodeBlockFormat },
  { name: "kopia.blobcfg", examples: [utf8("{}"), utf8('{"retentionMode":"GOVERNANCE","retentionPeriod":31536000000000000}')], decode: decodeBlobConfig },
  {
    name: "udmrepo.Repository",
    examples: [utf8('{"uniqueID":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}')],
    decode: (bytes) => new JsonReader(parseJsonObject(bytes, "it"), "it").bytes("uniqueID"),
  },
  { name: "format blob in a pack", examples: [frameFormatBlob(utf8(vector["kopia.repository"]))], decode: unframeFormatBlob },
  {
    name: "postamble",
    examples: [bytesOfHex(golden.postamble.bytes), encodePostamble({ iv: new Uint8Array(32), offset: 2 ** 28, length: 70_000 })],
    decode: decodePostamble,
  },
  { name: "index version 1", examples: [encodeIndex(1, indexEntries())], decode: readIndex },
  { name: "index version 2", examples: [encodeIndex(2, indexEntries())], decode: readIndex },
  { name: "manifest content", examples: [manifests], decode: (bytes) => decodeManifestContent(bytes, "m00") },
  {
    name: "manifests inside their compression",
    examples: [gunzipSync(manifests)],
    decode: (bytes) => decodeManifestContent(gzipSync(bytes, { level: 0 }), "m00"),
  },
  { name: "snapshot manifest", examples: [utf8(SNAPSHOT)], decode: (bytes) => decodeSnapshot({ id: "it", data: fromUtf8(bytes) }) },
  {
    name: "policy",
    examples: [utf8(encodePolicy(defaultPolicy)), utf8(veleroPathPolicy(4))],
    decode: (bytes) => mergePolicies([{ target: globalTarget, document: decodePolicy(fromUtf8(bytes), "it") }]),
  },
  {
    name: "ignore pattern",
    examples: ["**/[a-c]x?[[:alpha:]]*", "!foo/**/bar\\*", "[!a\\]]"].map(utf8),
    decode: (bytes) => parseWildcard(fromUtf8(bytes), "/base").matches("/base/a/b", false),
  },
  {
    name: "directory listing",
    examples: [LISTING, utf8('{"stream":"kopia:directory","entries":null,"summary":null}\n')],
    decode: (bytes) => inPieces(bytes, readListing),
  },
  {
    name: "indirect list",
    examples: [
      Buffer.concat([
        ...encodeIndirectList([
          { offset: 0, length: 5, objectId: objectIdOf("3b28") },
          { offset: 5, length: 7, objectId: objectIdOf("Ix5da1") },
        ]),
      ]),
    ],
    decode: (bytes) => inPieces(bytes, readIndirect),
  },
  { name: "maintenance schedule", examples: [encodeSchedule(decodeSchedule(utf8(vector["kopia.maintenance plaintext"])))], decode: decodeSchedule },
  {
    name: "maintenance parameters",
    examples: [utf8(maintenanceParameters({ owner: "a@b" }))],
    decode: (bytes) => decodeMaintenanceParameters(fromUtf8(bytes)),
  },
  {
    name: "error correction",
    examples: [5, 300, 9000].map(corrected),
    decode: (bytes) => correction.decode(bytes),
  },
];
