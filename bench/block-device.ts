/**
 * A block device of 4 GiB: read whole beside `dd` with direct I/O, read whole again, and not at all when its storage says that nothing has changed.
 *
 *   node scripts/node24.cjs node bench/block-device.ts [GIB]        as root: it attaches a loop device to a file in TMPDIR; lines of JSON
 *
 * A quarter of the device is never written, the rest is random. The repository lies on tmpfs, so that the disk has nothing else to do, and then on that disk, where writing a pack costs the processor less. `dd` and the upload
 * alternate, three times; each upload is a process of its own, and its start is in its figures. The whole scan is made by the bundled program, as people run it. What a storage says of its
 * changes comes from a service of the cluster, so the other upload is made by this file, whose sources are read anew in each of its threads.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger, systemClock, systemRandom } from "../packages/base/src/index.ts";
import { openFilesystemStorage } from "../packages/blob/src/index.ts";
import { uploadSnapshot } from "../packages/datapath/src/index.ts";
import { patternBytes } from "../packages/datapath/src/testing/index.ts";
import { type Extent, prepareNative } from "../packages/kernels/src/index.ts";
import { createRepository, openRepository, parseSnapshotSource } from "../packages/repo/src/index.ts";
import { ensureBundle } from "../tools/bundle.ts";

const PASSWORD = "bench";
const MIB = 1 << 20;
const RUNS = 3;

interface Figures {
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
}

async function main(): Promise<void> {
  const [, , first, device = "", folder = "", changeId = ""] = process.argv;
  if (first === "upload") return await upload(device, folder, changeId);
  const bytes = Number(first ?? 4) * 2 ** 30;
  // The addon is compiled before anything is measured.
  await prepareNative();
  const bundle = await ensureBundle();
  const work = mkdtempSync(join(tmpdir(), "block-bench-"));
  const repositories = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "block-bench-"));
  const image = join(work, "image");
  writeImage(image, bytes);
  const loop = execFileSync("losetup", ["--find", "--show", "--direct-io=on", image], { encoding: "utf8" }).trim();
  try {
    for (let run = 0; run < RUNS; run++) {
      print("dd", run, timed("dd", [`if=${loop}`, "of=/dev/null", "bs=4M", "iflag=direct", "status=none"]));
      for (const [where, parent] of Object.entries({ tmpfs: repositories, disk: work })) {
        const folder = join(parent, `run-${run}`);
        await makeRepository(folder);
        const scan = [bundle, "snapshot", "create", "--repository", `file://${folder}`, "--block", loop];
        print(`full scan, repository on ${where}`, run, timed(process.execPath, scan));
        print(`full scan, nothing changed, repository on ${where}`, run, timed(process.execPath, scan));
        if (where === "disk") {
          // The state that the next one is beside: everything is there already.
          timed(process.execPath, [import.meta.filename, "upload", loop, folder, "one"]);
          print("nothing changed, and known", run, timed(process.execPath, [import.meta.filename, "upload", loop, folder, "two"]));
        }
        rmSync(folder, { recursive: true });
      }
    }
  } finally {
    execFileSync("losetup", ["--detach", loop]);
    for (const path of [work, repositories]) rmSync(path, { recursive: true, force: true });
  }

  function print(what: string, run: number, { wallSeconds, cpuSeconds }: Figures): void {
    const perGB = (cpuSeconds / bytes) * 1e9;
    const load = Number(readFileSync("/proc/loadavg", "utf8").split(" ")[0]);
    process.stdout.write(`${JSON.stringify({ what, run, bytes, wallSeconds, cpuSeconds, cpuSecondsPerGB: Number(perGB.toFixed(3)), load })}\n`);
  }
}

async function makeRepository(folder: string): Promise<void> {
  mkdirSync(folder);
  const options = { password: PASSWORD, clock: systemClock, random: systemRandom, logger: nullLogger };
  await (await createRepository(await openFilesystemStorage({ path: folder }), options)).close();
}

function writeImage(path: string, bytes: number): void {
  const fd = openSync(path, "wx");
  for (let at = 0, block = 0; at < (bytes * 3) / 4; at += 64 * MIB, block++) writeSync(fd, patternBytes(64 * MIB, block), 0, 64 * MIB, at);
  ftruncateSync(fd, bytes);
  closeSync(fd);
}

/** What a process and its children take. */
function timed(command: string, args: readonly string[]): Figures {
  const before = childSeconds();
  const startedMs = systemClock.monotonicMs();
  const { status } = spawnSync(command, args, { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, DRAY_REPOSITORY_PASSWORD: PASSWORD } });
  const wallSeconds = (systemClock.monotonicMs() - startedMs) / 1000;
  if (status !== 0) throw new Error(`Cannot go on: "${command}" ended with ${status}`);
  return { wallSeconds: Number(wallSeconds.toFixed(2)), cpuSeconds: Number((childSeconds() - before).toFixed(2)) };
}

/** CPU time of the children that have ended: fields 16 and 17 of proc_pid_stat(5), in hundredths. */
function childSeconds(): number {
  const fields = readFileSync("/proc/self/stat", "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[13]) + Number(fields[14])) / 100;
}

/** The second state is that of the first, and the storage says so. */
async function upload(device: string, folder: string, changeId: string): Promise<void> {
  const options = { password: PASSWORD, clock: systemClock, random: systemRandom, logger: nullLogger };
  const repository = await openRepository(await openFilesystemStorage({ path: folder }), options);
  const changedBlocks = {
    ...{ volumeId: "volume", changeId },
    async *ranges(base: string | undefined): AsyncGenerator<Extent> {
      if (base === undefined) throw new Error("it is not known which parts were ever written");
      yield* [];
    },
  };
  await uploadSnapshot({ repository, source: { kind: "block", path: device, changedBlocks }, snapshotSource: parseSnapshotSource("bench@bench:/device") });
  await repository.close();
}

await main();
