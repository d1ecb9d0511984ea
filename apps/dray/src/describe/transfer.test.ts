import { formatTime } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { formatTransfer, type Moving } from "./transfer.ts";

const NOW = 1_700_000_000_000;
const MIB = 1 << 20;
const details = (ageMs: number): string =>
  JSON.stringify({
    at: formatTime(NOW - ageMs),
    phase: "transferring",
    filesDone: 1,
    filesTotal: 2,
    bytesHashed: 1,
    bytesDeduplicated: 0,
    bytesStored: 1,
    errors: 0,
    bytesPerSecond: 10 * MIB,
    limitedBy: "storage",
  });
const moving = (status: NonNullable<Moving["status"]>, note?: string): Moving => ({
  metadata: { name: "u", ...(note === undefined ? {} : { annotations: { "drayage.io/transfer": note } }) },
  status: { phase: "InProgress", startTimestamp: formatTime(NOW - 100_000), progress: { bytesDone: 400 * MIB, totalBytes: 1000 * MIB }, ...status },
});

describe("how a volume moves", () => {
  it.each([
    ["as its mover said lately", moving({}, details(5_000)), "10.0 MiB/s, 60s left, limited by the storage"],
    ["on average, where the mover is another or has fallen silent", moving({}, details(120_000)), "4.0 MiB/s, 2m30s left"],
    ["on average, where the note is rubbish", moving({}, '{"at":7,"bytesPerSecond":"fast"}'), "4.0 MiB/s, 2m30s left"],
    ["on the whole, once it has ended", moving({ phase: "Completed", completionTimestamp: formatTime(NOW - 60_000) }, details(70_000)), "10.0 MiB/s"],
    ["not at all before it begins", moving({ phase: "Accepted", startTimestamp: null }), ""],
    ["not at all while nothing is done", moving({ progress: {} }), ""],
  ])("%s", (_what, movement, text) => {
    expect(formatTransfer(movement, NOW)).toBe(text);
  });
});
