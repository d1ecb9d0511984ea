/**
 * Cuts what tests compare with out of a recording of a real Velero: `node tools/import-velero-recording.ts FOLDER`, where FOLDER holds `audit.jsonl.gz`, `bucket.tar.gz`, `watch/` and `cli/`.
 * Writes test/fixtures/velero-1.18.3/cli/: what its command line printed of them. Writes test/fixtures/velero-1.18.3/objects/: the items of backup `second`, its other files, the objects that the backup and the restore `back` created, and the stages of both.
 * managedFields are left out (they are many and nothing is said about them), and all but one Event.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gunzipSync } from "node:zlib";

interface Loose {
  [field: string]: unknown;
  metadata?: { name?: string; namespace?: string; managedFields?: unknown; [field: string]: unknown };
}

const [, , folder] = process.argv;
if (folder === undefined) throw new Error("The folder of the recording is wanted");
const target = resolve(import.meta.dirname, "..", "test", "fixtures", "velero-1.18.3", "objects");

/** Entries of a plain tar archive. */
function* tarEntries(bytes: Buffer): Generator<{ name: string; data: Buffer }> {
  for (let at = 0; at + 512 <= bytes.length; ) {
    const header = bytes.subarray(at, at + 512);
    const name = header.subarray(0, 100).toString("utf8").replace(/\0.*$/s, "");
    if (name === "") break;
    const prefix = header.subarray(345, 500).toString("utf8").replace(/\0.*$/s, "");
    const length = Number.parseInt(header.subarray(124, 136).toString("utf8"), 8);
    yield { name: prefix === "" ? name : `${prefix}/${name}`, data: bytes.subarray(at + 512, at + 512 + length) };
    at += 512 + Math.ceil(length / 512) * 512;
  }
}

const jsonLines = (file: string): Loose[] =>
  gunzipSync(readFileSync(join(folder, file)))
    .toString("utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Loose);

function trimmed<T extends Loose>(object: T): T {
  if (object.metadata !== undefined) delete object.metadata.managedFields;
  return object;
}

const write = (name: string, value: unknown): void => writeFileSync(join(target, name), `${JSON.stringify(value, null, 1)}\n`);

const bucket = new Map([...tarEntries(gunzipSync(readFileSync(join(folder, "bucket.tar.gz"))))].map(({ name, data }) => [name.replace(/^\.\//, ""), data]));
const fromBucket = (suffix: string): Buffer => {
  const found = [...bucket].find(([name]) => name.endsWith(suffix));
  if (found === undefined) throw new Error(`The bucket has no ${suffix}`);
  return found[1];
};
const unpacked = (suffix: string): unknown => JSON.parse(gunzipSync(fromBucket(suffix)).toString("utf8"));

const items: Loose[] = [];
let events = 0;
for (const { name, data } of tarEntries(gunzipSync(fromBucket("backups/second/second.tar.gz")))) {
  if (!name.startsWith("resources/") || name.includes("-preferredversion/")) continue;
  if (name.startsWith("resources/events/") && events++ > 0) continue;
  items.push({ path: name, object: trimmed(JSON.parse(data.toString("utf8")) as Loose) });
}
write("second-items.json", items);
write("second-files.json", {
  backup: trimmed(JSON.parse(fromBucket("backups/second/velero-backup.json").toString("utf8")) as Loose),
  itemOperations: unpacked("second-itemoperations.json.gz"),
  resourceList: unpacked("second-resource-list.json.gz"),
  results: unpacked("second-results.gz"),
  volumeInfos: unpacked("second-volumeinfo.json.gz"),
});
write("third-files.json", { itemOperations: unpacked("third-itemoperations.json.gz"), volumeInfos: unpacked("third-volumeinfo.json.gz") });
write("back-files.json", {
  itemOperations: unpacked("restore-back-itemoperations.json.gz"),
  resourceList: unpacked("restore-back-resource-list.json.gz"),
  results: unpacked("restore-back-results.gz"),
  volumeInfos: unpacked("back-volumeinfo.json.gz"),
});

const audit = jsonLines("audit.jsonl.gz");
const written = (from: string, to: string): Loose[] =>
  audit
    .filter(
      ({ t, agent, verb }) =>
        String(t) >= from && String(t) < to && /^velero/.test(String(agent)) && ["create", "patch", "deletecollection"].includes(String(verb)),
    )
    .filter(({ uri, request }) => request !== null && request !== undefined && !/downloadrequests|storagelocations|leases|\/events|\/exec/.test(String(uri)))
    .map(({ verb, uri, request }) => ({ verb, uri, request }));
write("second-requests.json", written("2026-11-21T04:10:42.43", "2026-11-21T04:11:12.2"));
write("back-requests.json", written("2026-11-21T04:11:58.2", "2026-11-21T04:12:41.3"));

const stages = (file: string, name: string): unknown[] =>
  jsonLines(file)
    .map(({ object }) => object as Loose)
    .filter(({ metadata }) => metadata?.name === name)
    .map(({ metadata, spec, status }) => ({
      labels: metadata?.["labels"],
      annotations: metadata?.["annotations"],
      finalizers: metadata?.["finalizers"],
      spec,
      status,
    }));
write("second-stages.json", stages("watch/backups.jsonl.gz", "second"));
write("back-stages.json", stages("watch/restores.jsonl.gz", "back"));

const printed = resolve(target, "..", "cli");
mkdirSync(printed, { recursive: true });
for (const name of ["03-backup-get", "04-backup-describe", "08-backup-location-get", "12-restore-describe", "18-restore-get"])
  writeFileSync(join(printed, `${name}.txt`), readFileSync(join(folder, "cli", `${name}.txt`)));
