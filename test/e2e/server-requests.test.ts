/** A server keeps one cache of each kind, however many of its controllers look at it. */
import { expect, it } from "vitest";
import { countServerRequests } from "./server-requests.ts";

const KINDS = [
  "backups",
  "restores",
  "schedules",
  "backupstoragelocations",
  "backuprepositories",
  "deletebackuprequests",
  "downloadrequests",
  "serverstatusrequests",
  "datauploads",
  "datadownloads",
];

it("a server lists and watches each of its kinds once, from its start to its end, and asks for none of what has ended", async () => {
  const { kinds, singleBackups } = await countServerRequests({ backups: 20, schedules: 3, idleMs: 1_000 });
  expect(Object.fromEntries(KINDS.map((kind) => [kind, kinds.get(kind)]))).toEqual(
    Object.fromEntries(KINDS.map((kind) => [kind, { listPages: 1, watches: 1 }])),
  );
  expect(singleBackups).toBe(0);
});
