/** Hooks that a restore declares: init containers that are added to restored pods, and commands that are run in them once they are up. Annotations of a pod win over the spec. */
import type { RestoreSpec } from "@drayage/api";
import { type Logger, type RandomSource, randomHex } from "@drayage/base";
import type { Container, Pod } from "@drayage/kube";
import { type ExecHook, HOOK_TIMEOUT_MS, hookTimeoutMs, parseHookCommand } from "./exec-hook.ts";
import { hookSelector } from "./hook-selector.ts";

const INIT = "init.hook.restore.velero.io/";
const POST = "post.hook.restore.velero.io/";
/** Comes before every other init container: it holds the pod until file-system restores are done. */
const RESTORE_WAIT = "restore-wait";

/** A command in a restored pod, and how long to wait for its container. */
export interface RestoreExecHook extends ExecHook {
  readonly waitForReady: boolean;
  /** Counted from when the pod's data is there. */
  readonly waitTimeoutMs: number | undefined;
}

type SpecHook = NonNullable<NonNullable<NonNullable<RestoreSpec["hooks"]>["resources"]>[number]["postHooks"]>[number];

export class RestoreHooks {
  /** What is wrong with init containers of the spec. */
  readonly faults: readonly string[];
  readonly #fromSpec: readonly { readonly fits: ReturnType<typeof hookSelector>; readonly name: string; readonly hooks: readonly SpecHook[] }[];

  /** Throws VALIDATION_FAILED when a hook's label selector is none. */
  constructor(spec: Pick<RestoreSpec, "hooks">) {
    const resources = spec.hooks?.resources ?? [];
    this.#fromSpec = resources.map((resource) => ({ fits: hookSelector(resource), name: resource.name, hooks: resource.postHooks ?? [] }));
    this.faults = resources.flatMap(({ name, postHooks }) =>
      (postHooks ?? []).flatMap(({ init }) =>
        (init?.initContainers ?? []).flatMap((container) => containerFaults(container).map((fault) => `spec.hooks "${name}": ${fault}`)),
      ),
    );
  }

  /** The pod with its init hooks. `namespace` is the one it is restored into. */
  withInitContainers(pod: Pod, namespace: string, random: RandomSource): Pod {
    const added = this.#initContainers(pod, namespace, random);
    if (added.length === 0) return pod;
    const existing = pod.spec.initContainers ?? [];
    const first = existing[0]?.name === RESTORE_WAIT ? existing.slice(0, 1) : [];
    return { ...pod, spec: { ...pod.spec, initContainers: [...first, ...added, ...existing.slice(first.length)] } };
  }

  #initContainers(pod: Pod, namespace: string, random: RandomSource): Container[] {
    const annotations = pod.metadata.annotations ?? {};
    const image = annotations[`${INIT}container-image`];
    if (image !== undefined && image !== "") {
      const command = annotations[`${INIT}command`];
      return [
        {
          name: annotations[`${INIT}container-name`] ?? `velero-restore-init-${randomHex(random, 4)}`,
          image,
          ...(command === undefined || command === "" ? {} : { command: parseHookCommand(command) }),
        },
      ];
    }
    return this.#fitting(pod, namespace).flatMap(({ hooks }) => hooks.flatMap(({ init }) => (init?.initContainers ?? []) as unknown as Container[]));
  }

  /** The commands to run in a restored pod, in order. */
  execHooks(pod: Pod, log: Logger): readonly RestoreExecHook[] {
    const annotations = pod.metadata.annotations ?? {};
    const command = annotations[`${POST}command`];
    const first = pod.spec.containers[0]?.name;
    if (command !== undefined && command !== "") {
      return [
        {
          source: "annotation",
          name: "<from-annotation>",
          container: annotations[`${POST}container`] ?? first,
          command: parseHookCommand(command),
          onError: annotations[`${POST}on-error`] === "Fail" ? "Fail" : "Continue",
          timeoutMs: hookTimeoutMs(annotations[`${POST}exec-timeout`], log) ?? HOOK_TIMEOUT_MS,
          waitTimeoutMs: hookTimeoutMs(annotations[`${POST}wait-timeout`], log),
          waitForReady: annotations[`${POST}wait-for-ready`] === "true",
        },
      ];
    }
    return this.#fitting(pod, pod.metadata.namespace ?? "").flatMap(({ name, hooks }) =>
      hooks.flatMap(({ exec }): RestoreExecHook[] =>
        exec === undefined
          ? []
          : [
              {
                source: "spec",
                name,
                container: exec.container === undefined || exec.container === "" ? first : exec.container,
                command: exec.command,
                onError: exec.onError ?? "Continue",
                timeoutMs: hookTimeoutMs(exec.execTimeout, log) ?? HOOK_TIMEOUT_MS,
                waitTimeoutMs: hookTimeoutMs(exec.waitTimeout, log),
                waitForReady: exec.waitForReady === true,
              },
            ],
      ),
    );
  }

  #fitting(pod: Pod, namespace: string) {
    return this.#fromSpec.filter(({ fits }) => fits(namespace, pod.metadata.labels));
  }
}

function containerFaults(container: Record<string, unknown>): string[] {
  const missing = ["name", "image", "command"].filter((field) => {
    const value = container[field];
    return Array.isArray(value) ? value.length === 0 : typeof value !== "string" || value === "";
  });
  return missing.length === 0 ? [] : [`an init container has no ${missing.join(", no ")}`];
}
