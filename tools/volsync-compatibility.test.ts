import { expect, it } from "vitest";
import { volSyncFieldTables } from "../test/compat-fields/volsync.ts";
import { volSyncFaults } from "./volsync-compatibility.ts";

it("every field of VolSync's kinds has an entry, each with a test that is there and speaks of it", () => {
  expect(volSyncFaults()).toEqual([]);
});

it("it is told when a field of VolSync's has no entry", () => {
  const { "spec.restic.unlock": _left, ...rest } = volSyncFieldTables["ReplicationSource"] ?? {};
  expect(volSyncFaults({ ...volSyncFieldTables, ReplicationSource: rest })).toEqual([
    "ReplicationSource.spec.restic.unlock: the definition has it, test/compat-fields says nothing of it",
  ]);
});
