/** The volumes of a pod on its node: set up before its first container, kept fresh while it runs, taken away after its last. */
import { execFile } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { type Clock, DrayError, makeFolders, type RandomSource } from "@drayage/base";
import { type Container, type KubeClient, type Pod, persistentVolumeClaims, persistentVolumes, type Volume } from "@drayage/kube";
import { type ApiVolumeSources, apiVolumeContent, SERVICE_ACCOUNT_PATH, SERVICE_ACCOUNT_VOLUME, wantsServiceAccount } from "./api-volumes.ts";
import type { CsiVolumes } from "./csi-volumes.ts";
import { expand } from "./environment.ts";
import { unmountBelow } from "./mount-table.ts";
import { podKey } from "./pod-types.ts";
import { writeProjection } from "./projection.ts";
import type { SandboxMount } from "./sandbox.ts";

const run = promisify(execFile);
const KUBELET_FOLDER = "/var/lib/kubelet";

/** Where a volume is on the host. */
export interface HostVolume {
  readonly path: string;
  readonly readOnly: boolean;
}

export type HostVolumes = ReadonlyMap<string, HostVolume>;

export interface PodVolumesOptions {
  /** The kubelet's folder. */
  readonly directory: string;
  readonly client: Pick<KubeClient, "find">;
  readonly csi: CsiVolumes;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly rootless: boolean;
}

type VolumeSource = Volume & { readonly ephemeral?: object };

export class PodVolumes {
  readonly #options: PodVolumesOptions;

  constructor(options: PodVolumesOptions) {
    this.#options = options;
  }

  /** Sets every volume up; may be called again. Throws what kept one of them from being set up, in words for a FailedMount event. */
  async setUp(pod: Pod, sources: ApiVolumeSources): Promise<HostVolumes> {
    const volumes = new Map<string, HostVolume>();
    for (const volume of volumesOf(pod)) {
      try {
        volumes.set(volume.name, await this.#one(pod, volume, sources));
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        const code = error instanceof DrayError ? error.code : "PATH_IO";
        throw new DrayError(code, `MountVolume.SetUp failed for volume "${volume.name}" : ${reason}`, { cause: error });
      }
    }
    return volumes;
  }

  /** Brings the files that come from the API up to date. */
  async refresh(pod: Pod, sources: ApiVolumeSources): Promise<void> {
    for (const volume of volumesOf(pod)) await this.#project(pod, volume, sources);
  }

  /** Takes everything of the pod's volumes away, also what an earlier kubelet set up. */
  async tearDown(podUid: string): Promise<void> {
    await this.#options.csi.unpublishAll(podUid);
    const folder = join(this.#podFolder(podUid), "volumes");
    const inMemory = join(folder, "kubernetes.io~empty-dir");
    if (!this.#options.rootless && existsSync(inMemory)) await unmountBelow(inMemory);
    rmSync(folder, { recursive: true, force: true });
    rmSync(join(this.#podFolder(podUid), "volumeDevices"), { recursive: true, force: true });
  }

  /** A node agent looks for the volumes of other pods where every kubelet has them; here that is the folder of this node. */
  #onNode(path: string): string {
    const inside = relative(KUBELET_FOLDER, path);
    return inside.startsWith("..") ? path : join(this.#options.directory, inside);
  }

  #podFolder(podUid: string): string {
    return join(this.#options.directory, "pods", podUid);
  }

  async #one(pod: Pod, volume: VolumeSource, sources: ApiVolumeSources): Promise<HostVolume> {
    const { uid, name } = podKey(pod);
    if (volume.emptyDir !== undefined) return this.#emptyDir(pod, volume);
    if (volume.hostPath !== undefined) return hostPath({ ...volume.hostPath, path: this.#onNode(volume.hostPath.path) });
    if (volume.persistentVolumeClaim !== undefined || volume.ephemeral !== undefined) {
      const claim = volume.persistentVolumeClaim?.claimName ?? `${name}-${volume.name}`;
      const readOnly = volume.persistentVolumeClaim?.readOnly === true;
      const path = await this.#claim(pod, uid, claim, readOnly);
      return { path, readOnly };
    }
    const projected = await this.#project(pod, volume, sources);
    if (projected !== undefined) return { path: projected, readOnly: true };
    const type = Object.keys(volume).find((key) => key !== "name") ?? "none";
    throw new DrayError("NOT_SUPPORTED", `volumes of type "${type}" are not supported here`);
  }

  async #project(pod: Pod, volume: Volume, sources: ApiVolumeSources): Promise<string | undefined> {
    const content = await apiVolumeContent(pod, volume, sources);
    if (content === undefined) return undefined;
    const plugin =
      volume.secret !== undefined ? "secret" : volume.configMap !== undefined ? "configmap" : volume.projected !== undefined ? "projected" : "downward-api";
    const folder = join(this.#podFolder(podKey(pod).uid), "volumes", `kubernetes.io~${plugin}`, volume.name);
    const owner = this.#options.rootless ? undefined : ownerOf(pod);
    writeProjection(folder, content, { clock: this.#options.clock, random: this.#options.random, ...(owner === undefined ? {} : { owner }) });
    return folder;
  }

  async #emptyDir(pod: Pod, volume: Volume): Promise<HostVolume> {
    const path = join(this.#podFolder(podKey(pod).uid), "volumes", "kubernetes.io~empty-dir", volume.name);
    const fresh = !existsSync(path);
    mkdirSync(path, { recursive: true });
    if (fresh) {
      if (volume.emptyDir?.medium === "Memory" && !this.#options.rootless) await run("mount", ["-t", "tmpfs", "-o", "mode=0777", "tmpfs", path]);
      await run("chmod", ["0777", path]);
      await this.#ownByGroup(pod, path);
    }
    return { path, readOnly: false };
  }

  async #claim(pod: Pod, podUid: string, claimName: string, readOnly: boolean): Promise<string> {
    const { namespace } = podKey(pod);
    const claim = await this.#options.client.find(persistentVolumeClaims, { namespace, name: claimName });
    if (claim === undefined) throw new DrayError("KUBE_NOT_FOUND", `persistentvolumeclaim "${claimName}" not found`);
    if (claim.metadata.deletionTimestamp !== undefined) throw new DrayError("KUBE_CONFLICT", `PVC ${namespace}/${claimName} is being deleted`);
    const volumeName = claim.spec.volumeName;
    if (claim.status?.phase !== "Bound" || volumeName === undefined) {
      throw new DrayError("KUBE_CONFLICT", `PVC ${namespace}/${claimName} is not bound`);
    }
    const volume = await this.#options.client.find(persistentVolumes, { name: volumeName });
    if (volume === undefined) throw new DrayError("KUBE_NOT_FOUND", `persistentvolume "${volumeName}" not found`);
    if (volume.spec.claimRef?.uid !== claim.metadata.uid) {
      throw new DrayError("KUBE_CONFLICT", `persistentvolume "${volumeName}" is bound to another claim than ${namespace}/${claimName}`);
    }
    const local = volume.spec.local?.path ?? volume.spec.hostPath?.path;
    const path = local ?? (await this.#options.csi.publish(podUid, volume, readOnly));
    if (volume.spec.volumeMode !== "Block" && !readOnly) await this.#ownByGroup(pod, path);
    return path;
  }

  /** `fsGroup`: the volume's files belong to that group and are open to it; left alone when its root already is (as OnRootMismatch has it). */
  async #ownByGroup(pod: Pod, path: string): Promise<void> {
    const group = (pod.spec.securityContext as { fsGroup?: number } | undefined)?.fsGroup;
    if (group === undefined || this.#options.rootless || statSync(path).gid === group) return;
    await run("chown", ["-R", "-h", `:${group}`, path]);
    await run("chmod", ["-R", "g+rwX", path]);
    await run("find", [path, "-type", "d", "-exec", "chmod", "g+s", "{}", "+"]);
  }
}

/** The pod's volumes, with that of its service account where admission has not put one. */
function volumesOf(pod: Pod): readonly VolumeSource[] {
  const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  const added = all.some((container) => wantsServiceAccount(pod, container)) ? [SERVICE_ACCOUNT_VOLUME] : [];
  return [...((pod.spec.volumes ?? []) as VolumeSource[]), ...added];
}

/** What a container sees of the pod's volumes. Throws KUBE_NOT_FOUND for a mount of a volume that the pod has not. */
export function containerMounts(pod: Pod, container: Container, volumes: HostVolumes, environment: Readonly<Record<string, string>>): SandboxMount[] {
  const find = (name: string): HostVolume => {
    const volume = volumes.get(name);
    if (volume === undefined) throw new DrayError("KUBE_NOT_FOUND", `cannot find volume "${name}" to mount into container "${container.name}"`);
    return volume;
  };
  const mounts = (container.volumeMounts ?? []).map((mount): SandboxMount => {
    const volume = find(mount.name);
    const expression = (mount as { subPathExpr?: string }).subPathExpr;
    const subPath = expression === undefined ? mount.subPath : expand(expression, environment);
    const source = subPath === undefined || subPath === "" ? volume.path : subPathOf(volume.path, subPath);
    return { source, target: mount.mountPath, readOnly: volume.readOnly || mount.readOnly === true };
  });
  const devices = (container.volumeDevices ?? []).map(
    (device): SandboxMount => ({ source: find(device.name).path, target: device.devicePath, readOnly: false }),
  );
  const account = wantsServiceAccount(pod, container) ? [{ source: find(SERVICE_ACCOUNT_VOLUME.name).path, target: SERVICE_ACCOUNT_PATH, readOnly: true }] : [];
  return [...mounts, ...devices, ...account];
}

/** A path inside the volume, made as a folder when it is not there. A link on the way could lead out of the volume and is refused. */
function subPathOf(root: string, subPath: string): string {
  let at = root;
  for (const part of subPath.split("/").filter((word) => word !== "" && word !== ".")) {
    if (part === "..") throw new DrayError("KUBE_INVALID", `must not contain '..': subPath "${subPath}"`);
    at = join(at, part);
    const there = lstatSync(at, { throwIfNoEntry: false });
    // The links of a projected folder are the kubelet's own and stay inside.
    if (there?.isSymbolicLink() === true && !existsSync(join(root, "..data"))) {
      throw new DrayError("PATH_ESCAPES_TARGET", `subPath "${subPath}" passes the symbolic link "${part}"`);
    }
    if (there === undefined) mkdirSync(at, { mode: 0o750 });
  }
  return existsSync(join(root, "..data")) ? realpathSync(at) : at;
}

function hostPath(source: { readonly path: string; readonly type?: string }): HostVolume {
  const { path, type = "" } = source;
  if (type === "DirectoryOrCreate") makeFolders(path);
  if (type === "FileOrCreate" && !existsSync(path)) writeFileSync(path, "", { mode: 0o644 });
  const stat = statSync(path, { throwIfNoEntry: false });
  const fits = {
    "": stat !== undefined,
    DirectoryOrCreate: stat?.isDirectory(),
    Directory: stat?.isDirectory(),
    FileOrCreate: stat?.isFile(),
    File: stat?.isFile(),
    Socket: stat?.isSocket(),
    CharDevice: stat?.isCharacterDevice(),
    BlockDevice: stat?.isBlockDevice(),
  }[type];
  if (fits !== true)
    throw new DrayError("PATH_NOT_FOUND", `hostPath type check failed: ${path} is not a ${type === "" ? "path that exists" : type.toLowerCase()}`);
  return { path: realpathSync(path), readOnly: false };
}

function ownerOf(pod: Pod): { uid: number; gid: number } | undefined {
  const context = pod.spec.securityContext as { runAsUser?: number; fsGroup?: number } | undefined;
  if (context?.runAsUser === undefined && context?.fsGroup === undefined) return undefined;
  return { uid: context.runAsUser ?? 0, gid: context.fsGroup ?? 0 };
}
