/** One container of a pod on this node: its image, its starts, its probes and hooks. The pod's worker decides; this carries out. */
import { join } from "node:path";
import { type Clock, DrayError, errorFields, hasCode, type Logger, messageOf, type RandomSource, randomHex } from "@drayage/base";
import { type EventRecorder, type Pod, quantityValue } from "@drayage/kube";
import type { ContainerLaunch, ContainerRuntime, RunningContainer } from "./container-runtime.ts";
import { expand, type PodFacts, type ReferenceSource, resolveEnvironment } from "./environment.ts";
import { runInContainer } from "./exec.ts";
import { ask, type HealthTarget, HealthWatch } from "./health.ts";
import { findImage, type ImageMapping, pullPolicyOf } from "./images.ts";
import type { AttemptView, ContainerView, ImageView } from "./pod-decide.ts";
import { type KubeletContainer, podKey } from "./pod-types.ts";
import { containerMounts, type HostVolumes } from "./pod-volumes.ts";
import type { ContainerUser } from "./sandbox-script.ts";

export interface SlotContext {
  readonly runtime: ContainerRuntime;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly recorder: EventRecorder;
  readonly rootless: boolean;
  readonly imageMap: readonly ImageMapping[];
  readonly facts: PodFacts;
  readonly references: ReferenceSource;
  /** Variables of every container: where the API server is. */
  readonly baseEnvironment: Readonly<Record<string, string>>;
  /** The pod's folder, with `containers/NAME/ATTEMPT` below it. */
  readonly podFolder: string;
  /** `logs/NAMESPACE_POD_UID`. */
  readonly logFolder: string;
  readonly onChange: () => void;
}

const PULL_BACKOFF_MS = 10_000;
const PULL_BACKOFF_MAX_MS = 300_000;
/** How long a failed pull shows as such before it shows as being put off. */
const PULL_ERROR_SHOWN_MS = 1_000;
const CREATE_RETRY_MS = 5_000;
const HOOK_TIMEOUT_MS = 30_000;
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export class ContainerSlot {
  readonly #context: SlotContext;
  #latest: RunningContainer | undefined;
  #previous: RunningContainer | undefined;
  #health: HealthWatch | undefined;
  #image: { readonly view: ImageView; readonly failures: number; readonly failedAtMs: number } = { view: { state: "unknown" }, failures: 0, failedAtMs: 0 };
  #trouble: ContainerView["trouble"];
  #hookFailure: string | undefined;
  #hookPending = false;
  #busy = false;

  /** @param earlier - starts of an earlier kubelet, the latest last */
  constructor(context: SlotContext, earlier: readonly RunningContainer[]) {
    this.#context = context;
    this.#latest = earlier.at(-1);
    this.#previous = earlier.at(-2);
    // What has been started had an image.
    if (this.#latest !== undefined) this.#image = { view: { state: "present" }, failures: 0, failedAtMs: 0 };
  }

  /** The start that runs, or ran last. */
  get latest(): RunningContainer | undefined {
    return this.#latest;
  }

  get previous(): RunningContainer | undefined {
    return this.#previous;
  }

  view(): ContainerView {
    const { view, failedAtMs } = this.#image;
    const shown = view.state === "failed" && view.reason === "ErrImagePull" && this.#context.clock.nowMs() - failedAtMs >= PULL_ERROR_SHOWN_MS;
    return {
      image: shown ? { ...view, reason: "ImagePullBackOff", message: `Back-off pulling image: ${view.message}` } : view,
      busy: this.#busy,
      ...(this.#latest === undefined ? {} : { latest: this.#attemptView(this.#latest, true) }),
      ...(this.#previous === undefined ? {} : { previous: this.#attemptView(this.#previous, false) }),
      ...(this.#trouble === undefined ? {} : { trouble: this.#trouble }),
    };
  }

  /** Looks the image up; what is on the host's disk needs no pulling. */
  pull(pod: Pod, container: KubeletContainer): void {
    const { clock, recorder, imageMap } = this.#context;
    const image = container.image ?? "";
    if (findImage(image, imageMap).missing !== true) {
      this.#image = { view: { state: "present" }, failures: 0, failedAtMs: 0 };
      recorder.event(pod, "Normal", "Pulled", `Container image "${image}" already present on machine`);
      return;
    }
    const nowMs = clock.nowMs();
    const never = pullPolicyOf(image, container.imagePullPolicy) === "Never";
    const failures = this.#image.failures + 1;
    const backoffMs = Math.min(PULL_BACKOFF_MS * 2 ** Math.min(failures - 1, 10), PULL_BACKOFF_MAX_MS);
    const reason = never ? "ErrImageNeverPull" : "ErrImagePull";
    const message = never
      ? `Container image "${image}" is not present with pull policy of Never`
      : `failed to pull and unpack image "${image}": failed to resolve reference "${image}": not found`;
    this.#image = { view: { state: "failed", reason, message, retryAtMs: nowMs + backoffMs }, failures, failedAtMs: nowMs };
    if (!never) recorder.event(pod, "Normal", "Pulling", `Pulling image "${image}"`);
    recorder.event(pod, "Warning", "Failed", never ? message : `Failed to pull image "${image}": ${message}`);
    recorder.event(pod, "Warning", "Failed", `Error: ${reason}`);
    if (never) return;
    clock.after(PULL_ERROR_SHOWN_MS, () => {
      if (this.#image.failedAtMs !== nowMs) return;
      recorder.event(pod, "Normal", "BackOff", `Back-off pulling image "${image}"`);
      recorder.event(pod, "Warning", "Failed", "Error: ImagePullBackOff");
      this.#context.onChange();
    });
  }

  async start(pod: Pod, container: KubeletContainer, attempt: number, volumes: HostVolumes): Promise<void> {
    const { runtime, recorder, clock, podFolder, logFolder } = this.#context;
    this.#busy = true;
    try {
      const launch = await this.#launch(pod, container, attempt, volumes);
      recorder.event(pod, "Normal", "Created", `Created container: ${container.name}`);
      const directory = join(podFolder, "containers", container.name, String(attempt));
      runtime.remove(directory);
      const started = await runtime.start(directory, launch, join(logFolder, container.name, `${attempt}.log`), () => this.#changed());
      if (this.#previous !== undefined) runtime.remove(this.#previous.directory);
      this.#previous = this.#latest;
      this.#latest = started;
      this.#trouble = undefined;
      await started.started();
      if (started.result?.reason === "StartError") recorder.event(pod, "Warning", "Failed", `Error: ${started.result.message}`);
      else recorder.event(pod, "Normal", "Started", `Started container ${container.name}`);
      this.watchHealth(pod, container);
      this.#postStart(pod, container, started);
    } catch (error) {
      const config = hasCode(error, "KUBE_NOT_FOUND", "KUBE_INVALID");
      const reason = config ? "CreateContainerConfigError" : "CreateContainerError";
      const message = messageOf(error);
      this.#trouble = { reason, message, retryAtMs: clock.nowMs() + CREATE_RETRY_MS };
      recorder.event(pod, "Warning", "Failed", `Error: ${message}`);
      this.#context.logger.warn("container was not created", { container: container.name, ...errorFields(error) });
    } finally {
      this.#busy = false;
      this.#changed();
    }
  }

  /** Starts the probes of a container that runs, unless they are under way. */
  watchHealth(pod: Pod, container: KubeletContainer): void {
    const running = this.#latest;
    if (running === undefined || running.result !== undefined || this.#health !== undefined) return;
    const { clock, recorder } = this.#context;
    this.#health = new HealthWatch(this.#target(container, running), clock, {
      change: () => this.#changed(),
      failure: (message) => recorder.event(pod, "Warning", "Unhealthy", message),
    });
  }

  async stop(pod: Pod, container: KubeletContainer, why: string, graceMs: number): Promise<void> {
    const running = this.#latest;
    if (running === undefined || running.result !== undefined) return;
    const { clock, recorder } = this.#context;
    this.#busy = true;
    try {
      recorder.event(pod, "Normal", "Killing", why === "Stopping container" ? `Stopping container ${container.name}` : why);
      this.#endHealth();
      const startedMs = clock.monotonicMs();
      const hook = container.lifecycle?.preStop;
      if (hook !== undefined && graceMs > 0 && running.process !== undefined) {
        const { ok, message } = await this.#hook(hook, container, running, graceMs);
        if (!ok) recorder.event(pod, "Warning", "FailedPreStopHook", `PreStopHook failed: ${message}`);
      }
      // A hook that used the grace up leaves the command two seconds, as a kubelet does.
      const leftMs = graceMs === 0 ? 0 : Math.max(graceMs - (clock.monotonicMs() - startedMs), 2_000);
      await running.stop(leftMs);
      await running.finished();
    } finally {
      this.#busy = false;
      this.#changed();
    }
  }

  /** Kills what runs without ceremony, for a pod that is no more. */
  async kill(): Promise<void> {
    this.#endHealth();
    if (this.#latest === undefined || this.#latest.result !== undefined) return;
    await this.#latest.stop(0);
    await this.#latest.finished();
  }

  /** Lets go without touching the process. */
  release(): void {
    this.#endHealth();
    this.#latest?.release();
    this.#previous?.release();
  }

  #attemptView(running: RunningContainer, isLatest: boolean): AttemptView {
    const health = isLatest ? this.#health?.state : undefined;
    const unhealthy = isLatest ? (this.#hookFailure ?? health?.unhealthy) : undefined;
    const held = isLatest && this.#hookPending;
    return {
      id: running.record.id,
      attempt: running.record.identity.attempt,
      started: !held && (health?.started ?? false),
      ready: !held && (health?.ready ?? false),
      ...(running.startedAtMs === undefined || held ? {} : { startedAtMs: running.startedAtMs }),
      ...(running.result === undefined ? {} : { result: running.result }),
      ...(unhealthy === undefined ? {} : { unhealthy }),
    };
  }

  /** A container counts as running only after its postStart hook, and is ended when that fails. */
  #postStart(pod: Pod, container: KubeletContainer, running: RunningContainer): void {
    this.#hookFailure = undefined;
    const hook = container.lifecycle?.postStart;
    if (hook === undefined || running.result !== undefined) return;
    this.#hookPending = true;
    void this.#hook(hook, container, running, HOOK_TIMEOUT_MS).then(({ ok, message }) => {
      this.#hookPending = false;
      if (!ok) {
        this.#hookFailure = "FailedPostStartHook";
        this.#context.recorder.event(pod, "Warning", "FailedPostStartHook", `PostStartHook failed: ${message}`);
      }
      this.#changed();
    });
  }

  async #hook(
    hook: NonNullable<NonNullable<KubeletContainer["lifecycle"]>["preStop"]>,
    container: KubeletContainer,
    running: RunningContainer,
    timeoutMs: number,
  ) {
    if (hook.sleep !== undefined) {
      await this.#context.clock.sleep(Math.min(hook.sleep.seconds * 1000, timeoutMs));
      return { ok: true, message: "" };
    }
    return ask(hook, this.#target(container, running), timeoutMs);
  }

  #target(container: KubeletContainer, running: RunningContainer): HealthTarget {
    const { clock, rootless, facts } = this.#context;
    return {
      podIP: facts.podIP,
      container,
      exec: (command, timeoutMs) => runInContainer(running.record, running.process, { command, rootless, timeoutMs, clock }),
    };
  }

  async #launch(pod: Pod, container: KubeletContainer, attempt: number, volumes: HostVolumes): Promise<ContainerLaunch> {
    const { facts, references, imageMap, baseEnvironment, random } = this.#context;
    const { namespace, name, uid } = podKey(pod);
    const image = findImage(container.image ?? "", imageMap);
    const own = await resolveEnvironment(pod, container, facts, references);
    const environment: Record<string, string> = { PATH: DEFAULT_PATH, HOME: "/root", HOSTNAME: name, ...baseEnvironment, ...image.environment, ...own };
    if (image.path !== undefined) environment["PATH"] = [...image.path, environment["PATH"]].join(":");
    const words = [...(container.command ?? image.entrypoint ?? []), ...(container.args ?? [])].map((word) => expand(word, environment));
    if (words.length === 0) {
      throw new DrayError("NOT_SUPPORTED", `no command specified: image "${container.image}" stands for the host's own programs here and has no entry point`, {
        hint: "Give the container a command, or map the image with --image-map.",
      });
    }
    const user = userOf(pod, container);
    const limit = container.resources?.limits?.["memory"];
    return {
      identity: { namespace, pod: name, podUid: uid, container: container.name, attempt },
      id: randomHex(random, 32),
      image: container.image ?? "",
      hostname: ((pod.spec as { hostname?: string }).hostname ?? name).slice(0, 63),
      command: words,
      environment,
      workingDir: container.workingDir === undefined || container.workingDir === "" ? "/" : container.workingDir,
      mounts: [...(image.mounts ?? []), ...containerMounts(pod, container, volumes, environment)],
      terminationMessagePath: container.terminationMessagePath ?? "/dev/termination-log",
      messageFromLog: container.terminationMessagePolicy === "FallbackToLogsOnError",
      stdin: container.stdin === true,
      tty: container.tty === true,
      ...(user === undefined ? {} : { user }),
      ...(limit === undefined ? {} : { memoryLimitBytes: Number(quantityValue(limit)) }),
    };
  }

  #endHealth(): void {
    this.#health?.stop();
    this.#health = undefined;
  }

  #changed(): void {
    if (this.#latest?.result !== undefined) this.#endHealth();
    this.#context.onChange();
  }
}

/** Who the container runs as; undefined for root. */
function userOf(pod: Pod, container: KubeletContainer): ContainerUser | undefined {
  interface Context {
    readonly runAsUser?: number;
    readonly runAsGroup?: number;
    readonly fsGroup?: number;
    readonly supplementalGroups?: readonly number[];
  }
  const ofPod = (pod.spec.securityContext ?? {}) as Context;
  const own = (container.securityContext ?? {}) as Context;
  const uid = own.runAsUser ?? ofPod.runAsUser ?? 0;
  const gid = own.runAsGroup ?? ofPod.runAsGroup ?? 0;
  const groups = [...(ofPod.supplementalGroups ?? []), ...(ofPod.fsGroup === undefined ? [] : [ofPod.fsGroup])];
  return uid === 0 && gid === 0 && groups.length === 0 ? undefined : { uid, gid, groups };
}
