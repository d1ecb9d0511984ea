import { expect, it } from "vitest";
import { bytesOfLog, progressOf } from "./moved-bytes.ts";

it.each([
  ["restic's backup", "Added to the repository: 2.000 MiB\nprocessed 25 files, 36.500 MiB in 0:12\nsnapshot 1a2b saved", 38_273_024],
  ["restic's backup of little", "processed 1 files, 12 B in 0:00", 12],
  ["restic's restore", "Summary: Restored 7 files/dirs (1.500 GiB) in 0:20", 1_610_612_736],
  ["restic's restore of a part", "Summary: Restored 4 / 7 files/dirs (2 KiB / 3 KiB) in 0:20", 2_048],
  ["our reader", "Restored snapshot 1a2b3c4d of 2023-04-05T06:07:08Z: 3 files, 2048 bytes", 2_048],
  ["our engine", "Snapshot 0f0f of 77 bytes", 77],
  ["a mover that had nothing to do", "Nothing was backed up: the volume is empty", undefined],
  ["nobody", undefined, undefined],
])("reads how much was moved from the log of %s", (_whose, log, bytes) => {
  expect(bytesOfLog(log)).toBe(bytes);
});

it.each(["{", "[]", '{"bytesDone":"1","totalBytes":1}', '{"bytesDone":-1,"totalBytes":1}', '{"bytesDone":1}'])("does not believe the annotation %s", (text) => {
  expect(progressOf({ metadata: { annotations: { "drayage.io/progress": text } } })).toBeUndefined();
});
