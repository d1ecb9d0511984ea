/** docs/formats/compatibility.md: what of Kopia's format is read and written, and the table of what the tests try against the real program. */
import { COMPRESSOR_NAMES, createKernels, ENCRYPTIONS, ERROR_CORRECTIONS, HASHES, SPLITTERS } from "../packages/kernels/src/index.ts";
import { type FileChoices, formatMatrix, type MatrixRow, wantedPairs } from "../test/compat/format-matrix.ts";

export async function compatibilityPage(): Promise<string> {
  const matrix = formatMatrix();
  const { compressor } = await createKernels();
  const written = COMPRESSOR_NAMES.filter((name) => compressor(name).compress !== undefined);
  const readOnly = COMPRESSOR_NAMES.filter((name) => !written.includes(name));
  const files = matrix.reduce((sum, row) => sum + row.files.length, 0);
  return [
    "# Compatibility with Kopia",
    "",
    "Written by `tools/docs.ts` from the lists of the program and from `test/compat/format-matrix.ts`, the table that the tests run. Compared with kopia 0.22.3.",
    "",
    "| | read and written | only read |",
    "|---|---|---|",
    "| format version | 1, 2, 3 | |",
    "| index | version 1 and 2; epochs, or single blobs with a compaction log | |",
    `| hash | ${names(HASHES)} | |`,
    `| encryption | ${names(ENCRYPTIONS)} | |`,
    `| error correction | ${names(ERROR_CORRECTIONS)} at 1 to 100 %, in format versions 2 and 3 | |`,
    `| splitter | ${names(SPLITTERS)} | |`,
    `| compressor | ${names(written)} | ${names(readOnly)} |`,
    "| compression in format version 1 | none | of objects, by every compressor |",
    "",
    "## What is tried",
    "",
    `\`test/compat/kopia-matrix.test.ts\` makes ${matrix.length} repositories with ${files} files of either side, so that each of the ${wantedPairs().size} pairs of two values of two choices meets at least once.`,
    "Kopia makes a snapshot with a splitter and a compressor for each folder; we read every byte, and our own cuts of the same bytes give the same object ids (in format version 1 where nothing is compressed).",
    "Then we write a snapshot of our own into the same repository, and a fresh kopia restores it byte by byte.",
    "Where a compressor is only read our file is stored as it is. The index is asked whether each compressor was really used.",
    "",
    "By themselves: error correction with damaged packs and indexes, repaired by either side (`kopia-ecc.test.ts`); index compaction, garbage collection and the lost format of version 1 (`kopia-legacy.test.ts`);",
    "packs, indexes, epochs, passwords and maintenance (`kopia-contents.test.ts`); trees of files (`kopia-snapshots.test.ts`);",
    "policies, expiry and ignore rules (`kopia-policies.test.ts`); repairs, copies, upgrades of the format and changes of the password (`kopia-repair.test.ts`). Golden repositories of kopia are read without it (`repo/src/golden-repositories.test.ts`).",
    "",
    "| repository of | hash | encryption | format version | error correction | splitters and compressors of its files |",
    "|---|---|---|---|---|---|",
    ...matrix.map(tableRow),
    "",
  ].join("\n");
}

function tableRow({ repository, files }: MatrixRow): string {
  const { creator, hash, encryption, formatVersion, eccOverheadPercent } = repository;
  const correction = eccOverheadPercent === 0 ? "none" : `${eccOverheadPercent} %`;
  return `| ${creator} | ${hash} | ${encryption} | ${formatVersion} | ${correction} | ${files.map(fileText).join(", ")} |`;
}

function fileText({ splitter, compressor }: FileChoices): string {
  return `${splitter} ${compressor}`;
}

function names(list: readonly string[]): string {
  return list.map((name) => `\`${name}\``).join(", ");
}
