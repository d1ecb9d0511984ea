/** A driver that is slow, fails, or loses its answers: for tests of everything that calls one. */
import { type Clock, errorFields, type Logger, type RandomSource } from "@drayage/base";
import { type CsiInterceptor, csiError, type StatusName } from "@drayage/protocols/csi";

export interface CsiFault {
  /** The method it strikes, `CreateVolume`; every one when left out. */
  readonly method?: string;
  /** How often it strikes before it is spent; always when left out. */
  readonly times?: number;
  /** In how many cases it strikes, 0 to 1; in all when left out. */
  readonly chance?: number;
  /** Waits this long before the method begins. */
  readonly delayMs?: number;
  /** Answers with this status. With `lost` the work is done all the same, as when only the answer is lost. */
  readonly status?: StatusName;
  readonly lost?: boolean;
}

export interface CsiFaults {
  /** In order; the first that strikes decides. May be changed while the driver runs. */
  readonly faults: CsiFault[];
}

/** Logs every call and lets faults strike. */
export function faultyInterceptor(options: {
  readonly faults: CsiFaults;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
}): CsiInterceptor {
  const { clock, random, logger } = options;
  const struck = new Map<CsiFault, number>();
  const pick = (method: string): CsiFault | undefined =>
    options.faults.faults.find(
      (fault) =>
        (fault.method === undefined || fault.method === method) &&
        (struck.get(fault) ?? 0) < (fault.times ?? Number.POSITIVE_INFINITY) &&
        (fault.chance === undefined || random.fraction() < fault.chance),
    );
  return async (method, _request, work) => {
    const fault = pick(method);
    const startedMs = clock.monotonicMs();
    if (fault !== undefined) struck.set(fault, (struck.get(fault) ?? 0) + 1);
    try {
      if (fault?.delayMs !== undefined) await clock.sleep(fault.delayMs);
      if (fault?.status !== undefined && fault.lost !== true) throw injected(method, fault.status);
      const response = await work();
      if (fault?.status !== undefined) throw injected(method, fault.status);
      logger.debug("CSI call", { method, ms: Math.round(clock.monotonicMs() - startedMs) });
      return response;
    } catch (error) {
      logger.warn("CSI call failed", { method, ms: Math.round(clock.monotonicMs() - startedMs), ...errorFields(error) });
      throw error;
    }
  };
}

function injected(method: string, status: StatusName): Error {
  return csiError(status, `Cannot call "${method}": a fault was injected`);
}
