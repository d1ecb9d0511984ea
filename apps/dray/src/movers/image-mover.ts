/**
 * Movers that are images. One describes itself: its program, started in a pod of the installation's namespace with the argument `describe`, prints what the registration is made of
 * (docs/design/0015). So whoever registers it needs no container tool, and what is registered is what the nodes will run.
 */
import { createHash } from "node:crypto";
import { type DataMover, DRAYAGE_API_VERSION } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { KubeClient, Pod } from "@drayage/kube";
import { describeMover, type MoverDescription, problemsOfDescription } from "@drayage/mover-sdk";
import type { Terminal } from "../terminal.ts";
import { OUTPUT_BYTES_MAX, type PodEnd, runOnePod } from "./one-pod.ts";

export interface ImageProgram {
  readonly image: string;
  /** That of the image when left out. */
  readonly command?: readonly string[];
}

export interface ImageAccess {
  readonly client: KubeClient;
  /** Of the installation. */
  readonly namespace: string;
}

export const DESCRIBE_LIMIT_MS = 60_000;
const SHOWN_MAX = 200;

/** What the image says of itself. Throws VALIDATION_FAILED with everything that is wrong with it, TIMED_OUT, and DATA_MOVEMENT_FAILED when the image cannot be run. */
export async function describeImage(program: ImageProgram, access: ImageAccess, terminal: Terminal, limitMs = DESCRIBE_LIMIT_MS): Promise<MoverDescription> {
  const what = `mover image "${program.image}"`;
  const end = await runOnePod(describePod(program, access.namespace), { client: access.client, limitMs, what: `${what} to describe itself` }, terminal);
  return descriptionIn(end, what);
}

/** The registration of an image. */
export function registrationOf({ image, command = [] }: ImageProgram, description: MoverDescription): DataMover {
  const { name, capabilities, targets, ...rest } = description;
  return {
    apiVersion: DRAYAGE_API_VERSION,
    kind: "DataMover",
    metadata: { name },
    spec: { ...rest, capabilities: { ...capabilities, kinds: [...capabilities.kinds] }, targets: [...targets], image, command: [...command] },
  };
}

/** Its name is that of the image, so that the remains of a run that was killed are found by the next one. */
function describePod({ image, command }: ImageProgram, namespace: string): Pod {
  const subject = createHash("sha256")
    .update(JSON.stringify([image, command]))
    .digest("hex")
    .slice(0, 12);
  return {
    metadata: {
      namespace,
      name: `describe-mover-${subject}`,
      labels: { "app.kubernetes.io/name": "drayage", "app.kubernetes.io/component": "describe-mover" },
    },
    spec: {
      restartPolicy: "Never",
      automountServiceAccountToken: false,
      containers: [{ name: "mover", image, args: ["describe"], ...(command === undefined || command.length === 0 ? {} : { command: [...command] }) }],
    },
  };
}

function descriptionIn({ containers, output }: PodEnd, what: string): MoverDescription {
  const failed = (why: string): DrayError =>
    new DrayError("VALIDATION_FAILED", `Cannot use ${what}: ${why}`, {
      hint: "Started with the argument describe, its program prints name, version, description, capabilities, parameters and targets as JSON, and nothing else.",
    });
  const { exitCode = -1, message = "" } = containers.at(-1) ?? {};
  const said = (text: string): string => (text.trim() === "" ? "it said nothing" : JSON.stringify(text.trim().slice(0, SHOWN_MAX)));
  if (exitCode !== 0) throw failed(`its describe ended with exit code ${exitCode}: ${said(message.trim() === "" ? output : message)}`);
  if (Buffer.byteLength(output) > OUTPUT_BYTES_MAX) throw failed(`its describe printed more than ${OUTPUT_BYTES_MAX >> 10} KiB`);
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch {
    throw failed(`its describe printed no JSON: ${said(output)}`);
  }
  const problems = problemsOfDescription(value);
  if (problems.length > 0) throw failed(problems.join("; "));
  return describeMover(value as MoverDescription);
}
