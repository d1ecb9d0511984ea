import { type Clock, DrayError, errorFields, hasCode, isAbort, type Logger, type RandomSource } from "@drayage/base";
import { type Lease, leases } from "./core.ts";
import { formatMicroTime } from "./micro-time.ts";
import type { KubeClient } from "./types.ts";

export interface LeaderElectionOptions {
  readonly client: KubeClient;
  readonly lease: { readonly namespace: string; readonly name: string };
  /** Unique among the candidates: the pod's name and something random. */
  readonly identity: string;
  /** Whether a holder is known to have ended, so that its lease need not run out: an earlier process of the same pod. */
  readonly hasEnded?: (identity: string) => boolean;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** How long a silent leader keeps others out; 15 s as in Kubernetes' own components. */
  readonly leaseDurationMs?: number;
  /** How long the leader tries to renew before it gives up; 10 s. Less than the lease's duration. */
  readonly renewDeadlineMs?: number;
  /** Between two tries; 2 s. A lease that has just been renewed is left for half of the time that there is for renewing it. */
  readonly retryPeriodMs?: number;
  readonly signal: AbortSignal;
}

/**
 * Waits to hold the lease, then runs `lead` with a signal that is aborted when the lease is lost. Returns when `lead` does, or when `signal` is aborted; the lease is then given back.
 * Throws KUBE_CONFLICT when the lease was lost while leading: the process must stop what it does and start over.
 *
 * Another's lease is judged by how long *we* have seen it unchanged, so clocks that differ do no harm.
 */
export async function runAsLeader(options: LeaderElectionOptions, lead: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const elector = new LeaderElector(options);
  if (!(await elector.acquire())) return;
  const leading = new AbortController();
  const onAbort = (): void => leading.abort(options.signal.reason);
  options.signal.addEventListener("abort", onAbort, { once: true });
  const renewal = elector.keep(leading.signal).then((lost) => {
    if (lost)
      leading.abort(
        new DrayError("KUBE_CONFLICT", `Cannot stay leader of "${options.lease.namespace}/${options.lease.name}": the lease could not be renewed in time`),
      );
  });
  try {
    await lead(leading.signal);
    if (leading.signal.aborted && !options.signal.aborted) throw leading.signal.reason;
  } finally {
    options.signal.removeEventListener("abort", onAbort);
    leading.abort(new DOMException("Leading ended", "AbortError"));
    await renewal;
    await elector.release();
  }
}

class LeaderElector {
  readonly #options: LeaderElectionOptions;
  readonly #durationMs: number;
  readonly #deadlineMs: number;
  readonly #periodMs: number;
  /** What was last seen of the lease, and since when by our own clock. */
  #seen: { readonly version: string; readonly sinceMs: number } | undefined;
  #held: Lease | undefined;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#durationMs = options.leaseDurationMs ?? 15_000;
    this.#deadlineMs = options.renewDeadlineMs ?? 10_000;
    this.#periodMs = options.retryPeriodMs ?? 2_000;
  }

  /** True once the lease is ours; false when the signal ended the wait. */
  async acquire(): Promise<boolean> {
    const { clock, random, logger, signal, lease, identity } = this.#options;
    while (!signal.aborted) {
      try {
        if (await this.#tryAcquire(signal)) {
          logger.info("Became leader", { lease: lease.name, identity });
          return true;
        }
      } catch (error) {
        if (isAbort(error, signal)) return false;
        logger.warn("Cannot get the leader's lease", errorFields(error));
      }
      await clock.sleep(this.#periodMs * (1 + random.fraction() / 5), signal).catch(() => undefined);
    }
    return false;
  }

  /** Renews until the signal ends it (false), or until the deadline passes without success (true: lost). */
  async keep(signal: AbortSignal): Promise<boolean> {
    const { clock, logger } = this.#options;
    let renewedMs = clock.monotonicMs();
    const restMs = Math.max(this.#periodMs, this.#deadlineMs / 2);
    let waitMs = restMs;
    while (!signal.aborted) {
      await clock.sleep(waitMs, signal).catch(() => undefined);
      if (signal.aborted) return false;
      const startedMs = clock.monotonicMs();
      const leftMs = renewedMs + this.#deadlineMs - startedMs;
      if (leftMs <= 0) return this.#lose();
      // A request may hang for longer than the lease lasts; another would lead meanwhile.
      const overdue = new AbortController();
      const stopTimer = clock.after(leftMs, () => overdue.abort(new DrayError("TIMED_OUT", "Cannot renew the leader's lease: there was no answer in time")));
      try {
        if (!(await this.#tryAcquire(AbortSignal.any([signal, overdue.signal])))) return this.#lose();
        renewedMs = startedMs;
        waitMs = restMs;
      } catch (error) {
        if (signal.aborted) return false;
        waitMs = this.#periodMs;
        logger.warn("Cannot renew the leader's lease", errorFields(error));
        if (overdue.signal.aborted) return this.#lose();
      } finally {
        stopTimer();
      }
    }
    return false;
  }

  /** What is lost is not given back: another may hold it, and who did not answer would be waited for once more. */
  #lose(): true {
    this.#held = undefined;
    return true;
  }

  /** Lets the next candidate in at once. Best effort: the lease runs out by itself. */
  async release(): Promise<void> {
    const { client, clock, logger } = this.#options;
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    const now = formatMicroTime(clock.nowMs());
    try {
      await client.replace(leases, { ...held, spec: { ...held.spec, holderIdentity: "", leaseDurationSeconds: 1, renewTime: now, acquireTime: now } });
    } catch (error) {
      logger.debug("The leader's lease was not given back", errorFields(error));
    }
  }

  async #tryAcquire(signal: AbortSignal): Promise<boolean> {
    const { client, clock, identity, lease } = this.#options;
    const now = formatMicroTime(clock.nowMs());
    const mine = { holderIdentity: identity, leaseDurationSeconds: Math.ceil(this.#durationMs / 1000), renewTime: now };
    if (this.#held !== undefined) {
      // As long as nobody has written it since, there is nothing to read.
      try {
        this.#held = await client.replace(leases, { ...this.#held, spec: { ...this.#held.spec, ...mine } }, { signal });
        return true;
      } catch (error) {
        if (!hasCode(error, "KUBE_CONFLICT", "KUBE_NOT_FOUND")) throw error;
      }
    }
    try {
      const current = await client.find(leases, lease, signal);
      if (current === undefined) {
        this.#held = await client.create(leases, { metadata: { ...lease }, spec: { ...mine, acquireTime: now, leaseTransitions: 0 } }, { signal });
        return true;
      }
      const spec = current.spec ?? {};
      if (spec.holderIdentity !== identity && !this.#hasExpired(current)) {
        this.#held = undefined;
        return false;
      }
      const kept = spec.holderIdentity === identity;
      this.#held = await client.replace(
        leases,
        {
          ...current,
          spec: { ...spec, ...mine, acquireTime: kept ? (spec.acquireTime ?? now) : now, leaseTransitions: (spec.leaseTransitions ?? 0) + (kept ? 0 : 1) },
        },
        { signal },
      );
      return true;
    } catch (error) {
      // Another was quicker.
      if (hasCode(error, "KUBE_CONFLICT", "KUBE_ALREADY_EXISTS")) return false;
      throw error;
    }
  }

  #hasExpired(current: Lease): boolean {
    const holder = current.spec?.holderIdentity ?? "";
    if (holder === "" || this.#options.hasEnded?.(holder) === true) return true;
    const nowMs = this.#options.clock.monotonicMs();
    const version = current.metadata.resourceVersion ?? "";
    if (this.#seen?.version !== version) this.#seen = { version, sinceMs: nowMs };
    return nowMs - this.#seen.sinceMs >= (current.spec?.leaseDurationSeconds ?? 15) * 1000;
  }
}
