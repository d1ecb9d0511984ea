/** What `dray doctor` says, and what its questions are given. */
import type { KubeClient } from "@drayage/kube";

export interface Finding {
  readonly severity: "ok" | "warning" | "error";
  readonly what: string;
  readonly why?: string;
  /** What to do about it; a command where one does it. */
  readonly fix?: string;
}

export interface DoctorContext {
  readonly client: KubeClient;
  /** Where Drayage is installed. */
  readonly namespace: string;
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

/** One thing that is looked at. Nothing is changed by looking. */
export interface Question {
  /** What is looked at, in words that follow "Could not look at". */
  readonly about: string;
  readonly ask: (context: DoctorContext) => Promise<readonly Finding[]>;
}

/** What was made this recently may belong to work that is only beginning. */
export const FRESH_MS = 10 * 60_000;
