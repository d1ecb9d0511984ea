/**
 * The demo's application: it fills its volumes when they are empty, then keeps writing a journal. Backup hooks quiesce it: it stops between two records, takes an inventory of what is there,
 * and goes on when it is told to. Started on volumes that hold data already, it takes the inventory before it writes anything, so that a restore can be compared with what was backed up.
 *
 *   dray demo-app run --volume DIR [--device PATH] [--data DIR] [--seed N]      the application
 *   dray demo-app quiesce | resume | change                                     its hooks, run in the same container
 */
import { spawnSync } from "node:child_process";
import { closeSync, constants, existsSync, fdatasyncSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type Clock, DrayError, messageOf, utf8 } from "@drayage/base";
import type { SystemCalls } from "@drayage/kernels";
import { formatInventory, type InventoryEntry, inventoryOfDevice, inventoryOfTree } from "./inventory.ts";
import { writeSampleData } from "./sample-data.ts";

/** The application's own folder, in the pod's /tmp: never part of a backup. */
const CONTROL = "/tmp/demo-app";
const PAUSE = join(CONTROL, "pause");
const PAUSED = join(CONTROL, "paused");
const CHANGE = join(CONTROL, "change");
const SETTINGS = join(CONTROL, "settings.json");
export const READY = join(CONTROL, "ready");
/** What the volumes held when the application was started on data that was there. */
export const OPENING_INVENTORY = join(CONTROL, "opening.ndjson");
/** What they held when it was last quiesced. */
export const QUIESCED_INVENTORY = join(CONTROL, "quiesced.ndjson");

const QUIESCE_LIMIT_MS = 30_000;
const TICK_MS = 50;
const DEVICE_BLOCK_BYTES = 4096;

export interface ApplicationSettings {
  readonly volume: string;
  readonly device?: string;
  /** Copied into the volume instead of the sample. */
  readonly data?: string;
  readonly seed: number;
}

export interface ApplicationDeps {
  readonly clock: Clock;
  readonly system: SystemCalls;
  readonly signal: AbortSignal;
  readonly asRoot: boolean;
}

/** Runs until the signal. */
export async function runApplication(settings: ApplicationSettings, deps: ApplicationDeps): Promise<void> {
  mkdirSync(CONTROL, { recursive: true });
  replaceFile(SETTINGS, JSON.stringify(settings));
  const isEmpty = readdirSync(settings.volume).every((name) => name === "lost+found");
  if (isEmpty) fill(settings, deps);
  else replaceFile(OPENING_INVENTORY, formatInventory(takeInventory(settings, deps.system)));
  replaceFile(READY, isEmpty ? "filled" : "found");
  const journal = openSync(join(settings.volume, "journal.log"), "a");
  try {
    await write(settings, journal, deps);
  } finally {
    closeSync(journal);
  }
}

function fill(settings: ApplicationSettings, { system, asRoot }: ApplicationDeps): void {
  if (settings.data === undefined) writeSampleData(settings.volume, { seed: settings.seed, asRoot, system });
  else copyTree(settings.data, settings.volume);
  if (settings.device !== undefined) fillDevice(settings.device, settings.seed, system);
}

/** With everything that a copy can keep: links, holes, owners, times, extended attributes. */
function copyTree(source: string, target: string): void {
  const { status, stderr } = spawnSync("cp", ["-a", "--sparse=auto", "--", `${source}/.`, target], { encoding: "utf8" });
  if (status !== 0) throw new DrayError("PATH_IO", `Cannot copy "${source}" into the demo's volume: ${stderr.trim()}`);
}

/** A quarter of the device gets bytes, in four places; the rest stays as it is. */
function fillDevice(path: string, seed: number, system: SystemCalls): void {
  const fd = openSync(path, constants.O_RDWR);
  try {
    const size = system.blockDeviceSize(fd);
    const part = new Uint8Array(Math.floor(size / 16 / DEVICE_BLOCK_BYTES) * DEVICE_BLOCK_BYTES);
    for (let place = 0; place < 4; place++) {
      for (let at = 0; at < part.length; at++) part[at] = (at * 31 + (at >>> 8) * 17 + seed + place) & 0xff;
      writeSync(fd, part, 0, part.length, (place * size) / 4);
    }
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

async function write(settings: ApplicationSettings, journal: number, { clock, signal }: ApplicationDeps): Promise<void> {
  const device = settings.device === undefined ? undefined : openSync(settings.device, constants.O_RDWR);
  try {
    for (let record = 0; !signal.aborted; record++) {
      if (existsSync(PAUSE)) {
        if (device !== undefined) fdatasyncSync(device);
        fdatasyncSync(journal);
        if (!existsSync(PAUSED)) replaceFile(PAUSED, String(record));
      } else {
        rmSync(PAUSED, { force: true });
        if (existsSync(CHANGE)) {
          changeALittle(settings, record);
          rmSync(CHANGE, { force: true });
        }
        const line = `${clock.nowMs()} record ${record}\n`;
        writeSync(journal, line);
        if (device !== undefined) {
          const block = new Uint8Array(DEVICE_BLOCK_BYTES);
          block.set(utf8(line));
          writeSync(device, block, 0, block.length, DEVICE_BLOCK_BYTES * (1 + (record % 8)));
        }
      }
      await clock.sleep(TICK_MS, signal).catch(() => undefined);
    }
  } finally {
    if (device !== undefined) closeSync(device);
  }
}

/** The small change before the second backup: a few files new, rewritten, renamed and gone. */
function changeALittle(settings: ApplicationSettings, record: number): void {
  const folder = join(settings.volume, "changed");
  mkdirSync(folder, { recursive: true });
  for (let file = 0; file < 50; file++) writeFileSync(join(folder, `${record}-${file}.txt`), `changed at record ${record}, file ${file}\n`.repeat(100));
}

function takeInventory(settings: ApplicationSettings, system: SystemCalls): InventoryEntry[] {
  return [...inventoryOfTree(settings.volume, system), ...(settings.device === undefined ? [] : [inventoryOfDevice(settings.device, system)])];
}

async function waitUntil(what: string, condition: () => boolean, clock: Clock): Promise<void> {
  const untilMs = clock.monotonicMs() + QUIESCE_LIMIT_MS;
  while (!condition()) {
    if (clock.monotonicMs() > untilMs)
      throw new DrayError("TIMED_OUT", `Cannot reach the demo application: ${what} took more than ${QUIESCE_LIMIT_MS / 1000} s`);
    await clock.sleep(TICK_MS / 2);
  }
}

/** The pre hook: returns when nothing is written any more and the inventory is taken. */
export async function quiesce(settings: ApplicationSettings, deps: Pick<ApplicationDeps, "clock" | "system">): Promise<void> {
  replaceFile(PAUSE, "");
  await waitUntil("pausing", () => existsSync(PAUSED), deps.clock);
  replaceFile(QUIESCED_INVENTORY, formatInventory(takeInventory(settings, deps.system)));
}

/** The post hook. */
export function resume(): void {
  rmSync(PAUSE, { force: true });
}

/** Asks the application for its small change and waits until it is made. */
export async function change(clock: Clock): Promise<void> {
  replaceFile(CHANGE, "");
  await waitUntil("changing a few files", () => !existsSync(CHANGE), clock);
}

/** Settings of the application that runs in this container. */
export function readSettings(read: (path: string) => string): ApplicationSettings {
  try {
    return JSON.parse(read(SETTINGS)) as ApplicationSettings;
  } catch (error) {
    throw new DrayError("PATH_NOT_FOUND", `Cannot find the demo application in this container: ${messageOf(error)}`, { cause: error });
  }
}

function replaceFile(path: string, text: string): void {
  writeFileSync(`${path}.tmp`, text);
  renameSync(`${path}.tmp`, path);
}
