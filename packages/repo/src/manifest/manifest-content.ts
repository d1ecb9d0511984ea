/**
 * The contents with prefix `m` that hold manifests (kopia-format.md 7.3): gzip of one line of JSON.
 *
 *   {"entries":[{"id":"<32 hex>","labels":{…},"modified":"<time UTC>","deleted":true,"data":<any JSON>},…]}\n
 *
 * `deleted` is left out unless true; a tombstone has null labels and data. `data` is carried as raw text, never decoded and written again: one malformed content of this
 * kind makes the whole repository unusable for Kopia, and a rounded number loses what somebody stored.
 */
import { gunzipSync, gzipSync } from "node:zlib";
import { compareUtf8, DrayError, fromUtf8Strict, messageOf, utf8 } from "@drayage/base";
import { isMembers } from "../object/entry-document.ts";
import { goJsonString, goTime, parseGoTime } from "../snapshot/go-text.ts";
import { rawElements, rawMembers } from "./raw-json.ts";

export const MANIFEST_PREFIX = "m";

export type Labels = Readonly<Record<string, string>>;

export interface StoredManifest {
  readonly id: string;
  readonly labels: Labels;
  readonly modifiedNs: bigint;
  readonly deleted: boolean;
  /** Raw JSON text. */
  readonly data: string;
}

/** Far above any real one: a limit on memory when a content is damaged. */
const PLAIN_BYTES_MAX = 512 << 20;

export function encodeManifestContent(manifests: readonly StoredManifest[]): Uint8Array {
  const entries = manifests.map((manifest) => {
    const labels = manifest.deleted ? "null" : encodeLabels(manifest.labels);
    const head = `{"id":${goJsonString(manifest.id)},"labels":${labels},"modified":"${goTime(manifest.modifiedNs)}"`;
    return `${head}${manifest.deleted ? ',"deleted":true' : ""},"data":${manifest.deleted ? "null" : manifest.data}}`;
  });
  return gzipSync(utf8(`{"entries":[${entries}]}\n`));
}

/** Throws REPO_CORRUPT, naming the content. */
export function decodeManifestContent(stored: Uint8Array, contentId: string): StoredManifest[] {
  const what = `manifest content "${contentId}"`;
  try {
    const text = fromUtf8Strict(gunzipSync(stored, { maxOutputLength: PLAIN_BYTES_MAX }));
    if (text === undefined) throw new DrayError("REPO_CORRUPT", "its text is not UTF-8");
    const document: unknown = JSON.parse(text);
    const entries = isMembers(document) ? document["entries"] : undefined;
    if (entries === null) return [];
    if (!Array.isArray(entries)) throw new DrayError("REPO_CORRUPT", `"entries" is not a list`);
    const rawEntries = rawElements(lastOf(rawMembers(text), "entries"));
    return entries.map((entry, index) => decodeEntry(entry, rawEntries[index] ?? ""));
  } catch (error) {
    throw new DrayError("REPO_CORRUPT", `Cannot read ${what}: ${messageOf(error)}`, { cause: error, context: { content: contentId } });
  }
}

function decodeEntry(entry: unknown, raw: string): StoredManifest {
  const members = isMembers(entry) ? entry : {};
  const { id, labels, modified, deleted } = members;
  if (typeof id !== "string" || id === "" || (labels !== null && labels !== undefined && !isLabels(labels))) {
    throw new DrayError("REPO_CORRUPT", `${raw.slice(0, 200)} is not a manifest`);
  }
  return {
    id,
    labels: isLabels(labels) ? labels : {},
    modifiedNs: parseGoTime(modified),
    deleted: deleted === true,
    data: members["data"] === undefined ? "null" : lastOf(rawMembers(raw), "data"),
  };
}

function isLabels(value: unknown): value is Labels {
  return isMembers(value) && Object.values(value).every((label) => typeof label === "string");
}

function encodeLabels(labels: Labels): string {
  const keys = Object.keys(labels).sort(compareUtf8);
  return `{${keys.map((key) => `${goJsonString(key)}:${goJsonString(labels[key] ?? "")}`)}}`;
}

function lastOf(members: readonly [string, string][], name: string): string {
  return members.findLast(([member]) => member === name)?.[1] ?? "null";
}
