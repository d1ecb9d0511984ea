/** Drivers in a folder that goes away, for tests: started on first use, stopped and released at the end. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import type { CreateVolumeRequest, Sendable } from "@drayage/protocols/csi";
import { type CsiDriver, type StartCsiDriverOptions, startCsiDriver } from "../driver.ts";
import { type CsiControllerClient, type CsiNodeClient, createCsiControllerClient, createCsiNodeClient, type NodeVolume } from "../node-client.ts";
import { releaseStorage } from "../release-storage.ts";

export interface RunningDriver {
  readonly driver: CsiDriver;
  readonly controller: CsiControllerClient;
  readonly node: CsiNodeClient;
}

export class DriverBench {
  readonly folder = mkdtempSync(join(tmpdir(), "csi-driver-"));
  readonly storage = join(this.folder, "storage");
  readonly clock = new VirtualClock();
  readonly #running: RunningDriver[] = [];

  async start(nodeName = "node-1", options: Partial<StartCsiDriverOptions> = {}): Promise<RunningDriver> {
    const driver = await startCsiDriver({
      socketPath: join(this.folder, `${nodeName}.sock`),
      stateDirectory: this.storage,
      nodeName,
      clock: this.clock,
      random: seededRandom(this.#running.length),
      logger: nullLogger,
      ...options,
    });
    const running = { driver, controller: createCsiControllerClient(driver.socketPath), node: createCsiNodeClient(driver.socketPath) };
    this.#running.push(running);
    return running;
  }

  async stop(running: RunningDriver): Promise<void> {
    running.controller.close();
    running.node.close();
    await running.driver.stop();
    this.#running.splice(this.#running.indexOf(running), 1);
  }

  /** A path for a volume on a node; its parent is there, as a kubelet makes it. */
  path(...names: string[]): string {
    mkdirSync(join(this.folder, "nodes", ...names.slice(0, -1)), { recursive: true });
    return join(this.folder, "nodes", ...names);
  }

  async end(): Promise<void> {
    for (const running of [...this.#running]) await this.stop(running);
    await releaseStorage(this.folder);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export const MIB = 1024 * 1024;

/** A request for a small filesystem volume, of which a test says what matters. */
export function volumeRequest(request: Partial<Sendable<CreateVolumeRequest>> = {}): Sendable<CreateVolumeRequest> {
  return { name: "pvc-1", capacityRange: { requiredBytes: String(8 * MIB) }, volumeCapabilities: [filesystem], ...request };
}

export const filesystem = { mount: {}, accessMode: { mode: "SINGLE_NODE_WRITER" } } as const;
export const block = { block: {}, accessMode: { mode: "SINGLE_NODE_WRITER" } } as const;
export const readers = { mount: {}, accessMode: { mode: "MULTI_NODE_READER_ONLY" } } as const;

export function nodeVolume(volumeHandle: string, volume: Partial<NodeVolume> = {}): NodeVolume {
  return { volumeHandle, volumeMode: "Filesystem", accessModes: ["ReadWriteOnce"], ...volume };
}
