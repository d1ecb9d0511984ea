import { BUILTIN_DATA_MOVERS, DRAYAGE_DATA_MOVER, FINALIZERS } from "@drayage/api";

/** Which values of `spec.datamover` this installation serves, and what becomes of a name that nobody serves. */
export interface DataMoverClaims {
  readonly serves: readonly string[];
  /** Standalone, an unknown name would wait for ever; under a real Velero another program may serve it. */
  readonly unknown: "fail" | "leave";
}

export interface DataMoverClaimOptions {
  /** `standalone`: Drayage is the server; `guest`: a real Velero (or OADP) is. */
  readonly mode: "standalone" | "guest";
  /** In place of Velero's own node-agent, which then must not run: two claimants of one object corrupt data. */
  readonly claimBuiltin?: boolean;
  /** Movers of other vendors that are installed beside. */
  readonly others?: readonly string[];
}

export function dataMoverClaims(options: DataMoverClaimOptions): DataMoverClaims {
  const builtin = options.mode === "standalone" || options.claimBuiltin === true;
  return {
    serves: [...(builtin ? BUILTIN_DATA_MOVERS : []), DRAYAGE_DATA_MOVER],
    unknown: options.mode === "standalone" && (options.others?.length ?? 0) === 0 ? "fail" : "leave",
  };
}

/** Velero's own finalizer where we stand in for its node-agent, so that either can finish what the other began; our own otherwise. */
export function finalizerFor(datamover: string): string {
  return (BUILTIN_DATA_MOVERS as readonly string[]).includes(datamover) ? FINALIZERS.dataMovement : "drayage.io/data-movement";
}
