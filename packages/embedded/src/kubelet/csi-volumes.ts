/**
 * The node side of CSI volumes: staged once a node, published once a pod, in the folders where a kubelet has them (a node agent that reads volumes through
 * `/var/lib/kubelet/pods` looks there).
 *
 * Invariant: what a pod uses is written to its `csi-volumes.json` before the driver is asked for it, so that whatever a crash leaves is found and taken away.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DrayError } from "@drayage/base";
import type { PersistentVolume } from "@drayage/kube";
import type { CsiNodeClient } from "../csi-driver/index.ts";

/** What is asked of a driver's node side. */
export type VolumePublisher = Pick<CsiNodeClient, "stage" | "unstage" | "publish" | "unpublish">;

interface PublishedVolume {
  readonly driver: string;
  readonly volumeHandle: string;
  readonly persistentVolume: string;
  readonly volumeMode: "Filesystem" | "Block";
  readonly stagingPath: string;
  readonly targetPath: string;
}

export class CsiVolumes {
  readonly #directory: string;
  readonly #drivers: ReadonlyMap<string, VolumePublisher>;
  /** One at a time for each staging path: a pod that comes must not meet the unstaging of one that goes. */
  readonly #locks = new Map<string, Promise<unknown>>();

  /** @param directory - the kubelet's own, in which `pods` and `plugins` are */
  constructor(directory: string, drivers: ReadonlyMap<string, VolumePublisher>) {
    this.#directory = directory;
    this.#drivers = drivers;
  }

  /** Stages and publishes; returns the host path to bind: a folder, or a device node. Throws NOT_SUPPORTED for a driver that this node has not. */
  async publish(podUid: string, volume: PersistentVolume, readOnly: boolean): Promise<string> {
    const name = volume.metadata.name ?? "";
    const { csi } = volume.spec;
    if (csi === undefined) throw new DrayError("NOT_SUPPORTED", `Cannot mount persistent volume "${name}": its type is not CSI`);
    const driver = this.#driver(csi.driver, name);
    const entry = this.#entry(podUid, name, volume);
    return this.#locked(entry.stagingPath, async () => {
      this.#remember(podUid, entry);
      const described = {
        volumeHandle: csi.volumeHandle,
        volumeMode: entry.volumeMode,
        accessModes: volume.spec.accessModes ?? [],
        fsType: csi.fsType,
        mountFlags: volume.spec.mountOptions,
        volumeAttributes: csi.volumeAttributes,
      };
      mkdirSync(dirname(entry.stagingPath), { recursive: true, mode: 0o750 });
      mkdirSync(dirname(entry.targetPath), { recursive: true, mode: 0o750 });
      await driver.stage(described, entry.stagingPath);
      await driver.publish(described, { stagingPath: entry.stagingPath, targetPath: entry.targetPath, readOnly: readOnly || csi.readOnly === true });
      if (entry.volumeMode === "Block") this.#linkDevice(podUid, entry);
      return realpathSync(entry.targetPath);
    });
  }

  /** Takes away everything that this pod uses, also when the pod itself is forgotten. */
  async unpublishAll(podUid: string): Promise<void> {
    for (const entry of this.#remembered(podUid)) {
      await this.#locked(entry.stagingPath, async () => {
        const driver = this.#driver(entry.driver, entry.persistentVolume);
        await driver.unpublish(entry.volumeHandle, entry.targetPath);
        rmSync(this.#deviceLink(podUid, entry), { force: true });
        this.#forget(podUid, entry);
        if (!this.#isUsed(entry.stagingPath)) await driver.unstage(entry.volumeHandle, entry.stagingPath);
      });
    }
  }

  #entry(podUid: string, name: string, volume: PersistentVolume): PublishedVolume {
    const { csi } = volume.spec;
    const driver = csi?.driver ?? "";
    const volumeHandle = csi?.volumeHandle ?? "";
    const block = volume.spec.volumeMode === "Block";
    const plugins = join(this.#directory, "plugins", "kubernetes.io", "csi");
    return {
      driver,
      volumeHandle,
      persistentVolume: name,
      volumeMode: block ? "Block" : "Filesystem",
      stagingPath: block
        ? join(plugins, "volumeDevices", "staging", name)
        : join(plugins, driver, createHash("sha256").update(volumeHandle).digest("hex"), "globalmount"),
      targetPath: block
        ? join(plugins, "volumeDevices", "publish", name, podUid)
        : join(this.#directory, "pods", podUid, "volumes", "kubernetes.io~csi", name, "mount"),
    };
  }

  #driver(name: string, volume: string): VolumePublisher {
    const driver = this.#drivers.get(name);
    if (driver === undefined) {
      const known = [...this.#drivers.keys()].join(", ");
      throw new DrayError(
        "NOT_SUPPORTED",
        `Cannot mount persistent volume "${volume}": driver name ${name} not found in the list of registered CSI drivers (${known})`,
      );
    }
    return driver;
  }

  /** Where a kubelet has a pod's block devices. */
  #linkDevice(podUid: string, entry: PublishedVolume): void {
    const link = this.#deviceLink(podUid, entry);
    mkdirSync(dirname(link), { recursive: true, mode: 0o750 });
    rmSync(link, { force: true });
    symlinkSync(entry.targetPath, link);
  }

  #deviceLink(podUid: string, entry: PublishedVolume): string {
    return join(this.#directory, "pods", podUid, "volumeDevices", "kubernetes.io~csi", entry.persistentVolume);
  }

  #recordPath(podUid: string): string {
    return join(this.#directory, "pods", podUid, "csi-volumes.json");
  }

  #remembered(podUid: string): PublishedVolume[] {
    const path = this.#recordPath(podUid);
    return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as PublishedVolume[]) : [];
  }

  #remember(podUid: string, entry: PublishedVolume): void {
    const others = this.#remembered(podUid).filter(({ targetPath }) => targetPath !== entry.targetPath);
    this.#write(podUid, [...others, entry]);
  }

  #forget(podUid: string, entry: PublishedVolume): void {
    this.#write(
      podUid,
      this.#remembered(podUid).filter(({ targetPath }) => targetPath !== entry.targetPath),
    );
  }

  #write(podUid: string, entries: readonly PublishedVolume[]): void {
    const path = this.#recordPath(podUid);
    mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
    writeFileSync(`${path}.new`, JSON.stringify(entries), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  #isUsed(stagingPath: string): boolean {
    const pods = join(this.#directory, "pods");
    return existsSync(pods) && readdirSync(pods).some((uid) => this.#remembered(uid).some((entry) => entry.stagingPath === stagingPath));
  }

  async #locked<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#locks.get(key) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(work);
    const settled = mine.catch(() => undefined);
    this.#locks.set(key, settled);
    try {
      return await mine;
    } finally {
      if (this.#locks.get(key) === settled) this.#locks.delete(key);
    }
  }
}
