/**
 * Cuts what the tests of data movement compare with out of a recording of a real Velero: `node tools/import-data-movement-recording.ts FOLDER`.
 * Writes test/fixtures/velero-1.18.3/data-movement.json: for two uploads and two downloads (a filesystem and a block volume each) the object as it was created, its stages,
 * the objects it began from, and every request that the node-agent made for it, without reads.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gunzipSync } from "node:zlib";

interface Loose {
  [field: string]: unknown;
  metadata?: { name?: string; namespace?: string; managedFields?: unknown; [field: string]: unknown };
}

const [, , folder] = process.argv;
if (folder === undefined) throw new Error("The folder of the recording is wanted");

const jsonLines = (file: string): Loose[] =>
  gunzipSync(readFileSync(join(folder, file)))
    .toString("utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Loose);

const states = (kind: string, name: string): Loose[] =>
  jsonLines(`watch/${kind}.jsonl.gz`)
    .filter(({ type }) => type !== "DELETED")
    .map(({ object }) => object as Loose)
    .filter(({ metadata }) => metadata?.name === name)
    .map((object) => {
      delete object.metadata?.managedFields;
      return object;
    });

const audit = jsonLines("audit.jsonl.gz");
/** `also` names objects of other names that the movement touches. */
const requests = (name: string, also: readonly string[]): unknown[] =>
  audit
    .filter(({ agent, verb }) => agent === "node-agent-server" && ["create", "patch", "delete"].includes(String(verb)))
    .filter(({ uri, request }) => {
      const subject = (request as Loose | null)?.metadata?.name ?? String(uri).split("/").at(-1);
      return subject === name || also.some((other) => String(uri).endsWith(`/${other}`));
    })
    .map(({ verb, uri, request }) => ({ verb, uri, ...(verb === "delete" ? {} : { request }) }));

const stages = (kind: string, name: string): unknown[] =>
  states(kind, name).map(({ metadata, status }) => ({ labels: metadata?.["labels"], finalizers: metadata?.["finalizers"], status }));

const upload = (name: string, snapshot: string, claim: string): unknown => {
  const bound = states("volumesnapshots", snapshot).find(({ status }) => (status as { readyToUse?: boolean } | undefined)?.readyToUse === true);
  const content = (bound?.["status"] as { boundVolumeSnapshotContentName?: string } | undefined)?.boundVolumeSnapshotContentName ?? "";
  return {
    object: states("datauploads", name)[0],
    snapshot: bound,
    content: states("volumesnapshotcontents", content).find(({ status }) => (status as { readyToUse?: boolean } | undefined)?.readyToUse === true),
    claim: states("persistentvolumeclaims", claim).find(
      ({ metadata, status }) => metadata?.namespace === "notes" && (status as { phase: string }).phase === "Bound",
    ),
    stages: stages("datauploads", name),
    requests: requests(name, [snapshot, content]),
  };
};

const download = (name: string, claim: string): unknown => {
  const target = states("persistentvolumeclaims", claim).find(({ metadata }) => metadata?.namespace === "notes-2");
  const volume = (states("persistentvolumeclaims", name).at(-1)?.["spec"] as { volumeName?: string } | undefined)?.volumeName ?? "";
  return {
    object: states("datadownloads", name)[0],
    target,
    volume,
    stages: stages("datadownloads", name),
    requests: requests(name, [`notes-2/persistentvolumeclaims/${claim}`, volume]),
  };
};

const result = {
  uploads: { filesystem: upload("first-6vp9m", "velero-files-6lwgq", "files"), block: upload("first-sshlg", "velero-disk-gknx4", "disk") },
  downloads: { filesystem: download("back-djsn5", "files"), block: download("back-6x78f", "disk") },
};
writeFileSync(resolve(import.meta.dirname, "..", "test", "fixtures", "velero-1.18.3", "data-movement.json"), `${JSON.stringify(result, null, 1)}\n`);
