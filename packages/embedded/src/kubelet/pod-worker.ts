/**
 * Brings one pod of this node to where it should be: looks, decides (`pod-decide.ts`), reports (`pod-status.ts`), acts, and looks again whenever something changed.
 *
 * Invariants: one pass at a time; slow actions (volumes, starting, stopping) run beside the passes and mark what they work on as busy; the status is written before
 * the object is removed, so whoever watches sees how the pod ended; when the worker is done, no process, mount or file of the pod is left.
 */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { errorFields, hasCode, messageOf } from "@drayage/base";
import { type KubeClient, type Pod, pods } from "@drayage/kube";
import type { ApiVolumeSources, TokenSource } from "./api-volumes.ts";
import type { RunningContainer } from "./container-runtime.ts";
import { ContainerSlot, type SlotContext } from "./container-slot.ts";
import { type ContainerView, decidePod, type PodAction, type PodView } from "./pod-decide.ts";
import { type PodStatus, podStatus } from "./pod-status.ts";
import { containersOf, initContainersOf, podKey } from "./pod-types.ts";
import type { HostVolumes, PodVolumes } from "./pod-volumes.ts";

export interface PodWorkerOptions extends Omit<SlotContext, "onChange"> {
  readonly client: Pick<KubeClient, "patchStatus" | "delete">;
  readonly volumes: PodVolumes;
  readonly token: TokenSource;
  readonly caPem: string;
  /** The API has the object no more: only what it left is to be taken away. */
  readonly objectGone?: boolean;
  /** Called once, when nothing of the pod is left. */
  readonly onGone: () => void;
}

const VOLUME_BACKOFF_MS = 500;
const VOLUME_BACKOFF_MAX_MS = 60_000;
/** How often files that come from Secrets, ConfigMaps and tokens are looked at again. */
const VOLUME_REFRESH_MS = 60_000;
const STATUS_RETRY_MS = 1_000;

export class PodWorker {
  readonly #options: PodWorkerOptions;
  readonly #slots = new Map<string, ContainerSlot>();
  #pod: Pod;
  #hostVolumes: HostVolumes | undefined;
  #volumes: PodView["volumes"] = "absent";
  /** Whether the pod's folder may hold volumes although none were set up by this process. */
  #needsTearDown: boolean;
  #volumeFailures = 0;
  #rejected: PodView["rejected"];
  #built = false;
  #dirty = false;
  #running = false;
  #objectGone = false;
  #done = false;
  #released = false;
  #wrote = "";
  readonly #announced = new Set<string>();
  #cancelRecheck: () => void = () => undefined;

  constructor(pod: Pod, options: PodWorkerOptions) {
    this.#pod = pod;
    this.#options = options;
    this.#objectGone = options.objectGone === true;
    // What an earlier kubelet set up is set up again (which changes nothing) to learn where it is, or taken away.
    this.#needsTearDown = existsSync(options.podFolder);
    for (const container of [...initContainersOf(pod), ...containersOf(pod)]) {
      const slot = new ContainerSlot({ ...options, onChange: () => this.poke() }, this.#earlierStarts(container.name));
      this.#slots.set(container.name, slot);
      slot.watchHealth(pod, container);
    }
    this.#refreshLater();
    // A container that was found again has spoken already, but half a view would be a wrong one.
    this.#built = true;
    this.poke();
  }

  get pod(): Pod {
    return this.#pod;
  }

  container(name: string): ContainerSlot | undefined {
    return this.#slots.get(name);
  }

  /** Takes a newer state of the object. */
  update(pod: Pod): void {
    this.#pod = pod;
    this.poke();
  }

  /** The object is gone from the API: whatever runs is killed and everything is taken away. */
  remove(): void {
    this.#objectGone = true;
    this.poke();
  }

  /** Ends the pod as Failed with this reason. */
  reject(reason: string, message: string): void {
    this.#rejected ??= { reason, message };
    this.poke();
  }

  /** Stops looking; processes go on, for the next kubelet to find. */
  release(): void {
    this.#released = true;
    this.#cancelRecheck();
    for (const slot of this.#slots.values()) slot.release();
  }

  poke(): void {
    this.#dirty = true;
    if (!this.#built || this.#running || this.#done || this.#released) return;
    this.#running = true;
    void this.#passes();
  }

  async #passes(): Promise<void> {
    while (this.#dirty && !this.#done && !this.#released) {
      this.#dirty = false;
      try {
        if (this.#objectGone) await this.#cleanUp();
        else await this.#pass();
      } catch (error) {
        this.#options.logger.warn("pod pass failed and is tried again", { ...podKey(this.#pod), ...errorFields(error) });
        this.#recheck(STATUS_RETRY_MS);
      }
    }
    this.#running = false;
  }

  async #pass(): Promise<void> {
    const view = this.#view();
    const { actions, verdict, recheckAfterMs } = decidePod(view);
    const removing = actions.some((action) => action.do === "removeObject");
    const status = podStatus(view, { ...this.#options.facts, ...(verdict === undefined ? {} : { verdict }) });
    this.#announceBackoffs(status);
    await this.#report(status);
    if (this.#objectGone) {
      this.#dirty = true;
      return;
    }
    for (const action of actions) this.#act(action);
    if (removing) await this.#removeObject();
    if (recheckAfterMs !== undefined) this.#recheck(recheckAfterMs);
  }

  /** Once for each start that is followed by a wait. */
  #announceBackoffs(status: PodStatus): void {
    for (const { name, state, restartCount } of [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])]) {
      const key = `${name}/${restartCount}`;
      if (state?.waiting?.reason !== "CrashLoopBackOff" || this.#announced.has(key)) continue;
      this.#announced.add(key);
      const { namespace, name: pod, uid } = podKey(this.#pod);
      this.#options.recorder.event(this.#pod, "Warning", "BackOff", `Back-off restarting failed container ${name} in pod ${pod}_${namespace}(${uid})`);
    }
  }

  #view(): PodView {
    const containers = new Map<string, ContainerView>([...this.#slots].map(([name, slot]) => [name, slot.view()]));
    return {
      pod: this.#pod,
      nowMs: this.#options.clock.nowMs(),
      // Leftovers of an earlier kubelet count as set up for a pod that ends, so that they are taken away.
      volumes: this.#volumes === "absent" && this.#needsTearDown && this.#isEnding() ? "ready" : this.#volumes,
      containers,
      ...(this.#rejected === undefined ? {} : { rejected: this.#rejected }),
    };
  }

  #isEnding(): boolean {
    const phase = this.#pod.status?.phase;
    return this.#pod.metadata.deletionTimestamp !== undefined || phase === "Succeeded" || phase === "Failed";
  }

  #act(action: PodAction): void {
    const pod = this.#pod;
    switch (action.do) {
      case "setUpVolumes":
        void this.#setUpVolumes();
        return;
      case "tearDownVolumes":
        void this.#tearDownVolumes();
        return;
      case "pull":
        this.#slots.get(action.container.name)?.pull(pod, action.container);
        this.#dirty = true;
        return;
      case "start":
        void this.#slots.get(action.container.name)?.start(pod, action.container, action.attempt, this.#hostVolumes ?? new Map());
        return;
      case "stop":
        void this.#slots.get(action.container.name)?.stop(pod, action.container, action.why, action.graceMs);
        return;
      case "removeObject":
        return;
    }
  }

  async #setUpVolumes(): Promise<void> {
    this.#volumes = "busy";
    try {
      this.#hostVolumes = await this.#options.volumes.setUp(this.#pod, this.#sources());
      this.#volumes = "ready";
      this.#volumeFailures = 0;
      this.#needsTearDown = true;
    } catch (error) {
      // Part of it may be there.
      this.#needsTearDown = true;
      const delayMs = Math.min(VOLUME_BACKOFF_MS * 2 ** Math.min(this.#volumeFailures++, 10), VOLUME_BACKOFF_MAX_MS);
      this.#volumes = { retryAtMs: this.#options.clock.nowMs() + delayMs };
      this.#options.recorder.event(this.#pod, "Warning", "FailedMount", messageOf(error));
      this.#options.logger.info("volumes were not set up", { ...podKey(this.#pod), delayMs, ...errorFields(error) });
    }
    this.poke();
  }

  async #tearDownVolumes(): Promise<void> {
    this.#volumes = "busy";
    try {
      await this.#options.volumes.tearDown(podKey(this.#pod).uid);
      this.#volumes = "absent";
      this.#needsTearDown = false;
      this.poke();
    } catch (error) {
      this.#options.recorder.event(this.#pod, "Warning", "FailedUnmount", messageOf(error));
      this.#options.logger.warn("volumes were not taken away", { ...podKey(this.#pod), ...errorFields(error) });
      this.#options.clock.after(STATUS_RETRY_MS, () => {
        this.#volumes = "ready";
        this.poke();
      });
    }
  }

  async #report(status: PodStatus): Promise<void> {
    const text = JSON.stringify(status);
    if (text === this.#wrote) return;
    const { namespace, name, uid } = podKey(this.#pod);
    try {
      const written = await this.#options.client.patchStatus(pods, { namespace, name }, "merge", { metadata: { uid }, status });
      this.#wrote = text;
      // The watch may already have brought something newer.
      if (isNewer(written, this.#pod)) this.#pod = written;
    } catch (error) {
      // Another object of the name has another UID.
      if (!hasCode(error, "KUBE_NOT_FOUND", "KUBE_CONFLICT")) throw error;
      this.#recheck(STATUS_RETRY_MS);
    }
  }

  async #removeObject(): Promise<void> {
    const { namespace, name, uid } = podKey(this.#pod);
    try {
      await this.#options.client.delete(pods, { namespace, name }, { gracePeriodSeconds: 0, preconditions: { uid } });
    } catch (error) {
      if (!hasCode(error, "KUBE_CONFLICT")) throw error;
      this.#objectGone = true;
      this.#dirty = true;
    }
  }

  async #cleanUp(): Promise<void> {
    if (this.#volumes === "busy" || [...this.#slots.values()].some((slot) => slot.view().busy)) {
      for (const slot of this.#slots.values()) await slot.latest?.stop(0);
      return;
    }
    for (const slot of this.#slots.values()) await slot.kill();
    await this.#options.volumes.tearDown(podKey(this.#pod).uid);
    for (const slot of this.#slots.values()) {
      slot.release();
      for (const start of [slot.latest, slot.previous]) if (start !== undefined) this.#options.runtime.remove(start.directory);
    }
    rmSync(this.#options.podFolder, { recursive: true, force: true });
    this.#removeLogs();
    this.#cancelRecheck();
    this.#done = true;
    this.#options.onGone();
  }

  /** By the UID, which is all that is known of a pod that went while no kubelet ran. */
  #removeLogs(): void {
    const logs = dirname(this.#options.logFolder);
    const own = existsSync(logs) ? readdirSync(logs).filter((name) => name.endsWith(`_${podKey(this.#pod).uid}`)) : [];
    for (const name of own) rmSync(join(logs, name), { recursive: true, force: true });
  }

  #earlierStarts(container: string): RunningContainer[] {
    const folder = join(this.#options.podFolder, "containers", container);
    if (!existsSync(folder)) return [];
    return readdirSync(folder)
      .sort((a, b) => Number(a) - Number(b))
      .slice(-2)
      .flatMap((attempt) => this.#options.runtime.adopt(join(folder, attempt), () => this.poke()) ?? []);
  }

  #sources(): ApiVolumeSources {
    const { references, facts, token, caPem } = this.#options;
    return { ...references, facts, token, caPem };
  }

  #refreshLater(): void {
    this.#options.clock.after(VOLUME_REFRESH_MS, () => {
      if (this.#done || this.#released) return;
      this.#refreshLater();
      if (this.#volumes !== "ready" || this.#hostVolumes === undefined) return;
      this.#options.volumes.refresh(this.#pod, this.#sources()).catch((error: unknown) => {
        this.#options.logger.warn("volumes were not brought up to date", { ...podKey(this.#pod), ...errorFields(error) });
      });
    });
  }

  #recheck(afterMs: number): void {
    this.#cancelRecheck();
    this.#cancelRecheck = this.#options.clock.after(afterMs, () => this.poke());
  }
}

function isNewer(a: Pod, b: Pod): boolean {
  const [versionA, versionB] = [a.metadata.resourceVersion, b.metadata.resourceVersion].map((text) => BigInt(text ?? "0"));
  return versionA !== undefined && versionB !== undefined && versionA > versionB;
}
