/** What is wrong with an installation, why, and what to do: one function a question, each of which looks and answers. Nothing is changed. */
import { hasCode, messageOf } from "@drayage/base";
import { admission } from "./admission.ts";
import { leftovers, scheduledBackups } from "./backups.ts";
import type { DoctorContext, Finding, Question } from "./finding.ts";
import { kinds, passwords, snapshotClasses, workloads } from "./installation.ts";
import { locations, repositories } from "./locations.ts";
import { movements } from "./movements.ts";
import { readyNodes } from "./nodes.ts";
import { orphans } from "./orphans.ts";

const QUESTIONS: readonly Question[] = [
  { about: "the installed kinds", ask: kinds },
  { about: "server and node-agents", ask: workloads },
  { about: "the admission webhook", ask: admission },
  { about: "nodes", ask: readyNodes },
  { about: "backup locations", ask: locations },
  { about: "the repository password", ask: passwords },
  { about: "snapshot classes", ask: snapshotClasses },
  { about: "repositories", ask: repositories },
  { about: "schedules", ask: scheduledBackups },
  { about: "data movements", ask: movements },
  { about: "backups that should be gone", ask: leftovers },
  { about: "what movers left behind", ask: orphans },
];

/** Every question in order; one that cannot be answered is a finding of its own. */
export async function examine(context: DoctorContext): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { about, ask } of QUESTIONS) {
    try {
      findings.push(...(await ask(context)));
    } catch (error) {
      context.signal.throwIfAborted();
      // That a kind is missing has been said; nothing of it can be wrong.
      if (hasCode(error, "KUBE_NOT_FOUND") && error.context["resourceMissing"] === true) continue;
      if (hasCode(error, "KUBE_UNAVAILABLE", "KUBE_UNAUTHORIZED", "KUBE_CONFIG")) {
        findings.push({
          severity: "error",
          what: "The cluster cannot be asked",
          why: messageOf(error),
          ...(error.hint === undefined ? {} : { fix: error.hint }),
        });
        break;
      }
      const fix = hasCode(error, "KUBE_FORBIDDEN") ? { fix: "Ask with an account that may read it." } : {};
      findings.push({ severity: "warning", what: `Could not look at ${about}`, why: messageOf(error), ...fix });
    }
  }
  return findings;
}
