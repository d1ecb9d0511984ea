/** What is told of a movement by Events, by reason: the turns of its life, not its progress. Messages are those of the status, so they say no more than everybody may read there. */
import type { EventRecorder } from "@drayage/kube";
import type { DataMovement, TerminalPhase } from "./movement.ts";

export type MovementEvent = "Accepted" | "Waiting" | "Prepared" | "TakenOver" | TerminalPhase;

const TYPES: Readonly<Record<MovementEvent, "Normal" | "Warning">> = {
  Accepted: "Normal",
  Waiting: "Normal",
  Prepared: "Normal",
  TakenOver: "Warning",
  Completed: "Normal",
  Failed: "Warning",
  Canceled: "Warning",
};

export function tell(events: EventRecorder, movement: DataMovement, reason: MovementEvent, message: string): void {
  events.event(movement, TYPES[reason], reason, message);
}
