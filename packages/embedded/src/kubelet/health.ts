/** Asking a container how it is: the three ways of probes and hooks, and the counting of their answers. */
import { request } from "node:http";
import { request as secureRequest } from "node:https";
import { connect } from "node:net";
import { type Clock, messageOf } from "@drayage/base";
import type { Probe } from "@drayage/kube";
import type { ExecOutcome } from "./exec.ts";
import type { KubeletContainer, LifecycleHandler } from "./pod-types.ts";

export interface HealthTarget {
  readonly podIP: string;
  readonly container: KubeletContainer;
  exec(command: readonly string[], timeoutMs: number): Promise<ExecOutcome>;
}

export interface Answer {
  readonly ok: boolean;
  readonly message: string;
}

type Check = Probe | LifecycleHandler;

const BODY_BYTES_MAX = 10 * 1024;

/** One try. Never throws: what cannot be asked has failed. */
export async function ask(check: Check, target: HealthTarget, timeoutMs: number): Promise<Answer> {
  try {
    if (check.exec !== undefined) {
      const { exitCode, output, timedOut } = await target.exec(check.exec.command, timeoutMs);
      if (timedOut) return { ok: false, message: `command timed out: ${JSON.stringify(check.exec.command)} timed out after ${timeoutMs / 1000}s` };
      return { ok: exitCode === 0, message: output.trim() };
    }
    if (check.httpGet !== undefined) return await askHttp(check.httpGet, target, timeoutMs);
    if ("tcpSocket" in check && check.tcpSocket !== undefined) return await askTcp(portOf(check.tcpSocket.port, target.container), target.podIP, timeoutMs);
    return { ok: true, message: "" };
  } catch (error) {
    return { ok: false, message: messageOf(error) };
  }
}

function askHttp(get: NonNullable<LifecycleHandler["httpGet"]>, target: HealthTarget, timeoutMs: number): Promise<Answer> {
  const port = portOf(get.port, target.container);
  const host = get.host === undefined || get.host === "" ? target.podIP : get.host;
  const headers = Object.fromEntries(((get as { httpHeaders?: { name: string; value: string }[] }).httpHeaders ?? []).map(({ name, value }) => [name, value]));
  const secure = get.scheme === "HTTPS";
  const options = { host, port, path: get.path ?? "/", timeout: timeoutMs, headers: { "user-agent": "kube-probe/1.34", connection: "close", ...headers } };
  return new Promise((resolve) => {
    // A probe asks whether the program answers; whose certificate it shows is not its question.
    const asked = (secure ? secureRequest : request)({ ...options, ...(secure ? { rejectUnauthorized: false } : {}) }, (response) => {
      let length = 0;
      response.on("data", (chunk: Buffer) => {
        length += chunk.length;
        if (length > BODY_BYTES_MAX) response.destroy();
      });
      response.on("close", () => {
        const status = response.statusCode ?? 0;
        resolve({ ok: status >= 200 && status < 400, message: `HTTP probe failed with statuscode: ${status}` });
      });
    });
    asked.on("timeout", () => asked.destroy(new Error("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")));
    asked.on("error", (error) => resolve({ ok: false, message: `Get "${secure ? "https" : "http"}://${host}:${port}${options.path}": ${error.message}` }));
    asked.end();
  });
}

function askTcp(port: number, host: string, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs });
    const finish = (answer: Answer): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.on("connect", () => finish({ ok: true, message: "" }));
    socket.on("timeout", () => finish({ ok: false, message: `dial tcp ${host}:${port}: i/o timeout` }));
    socket.on("error", (error) => finish({ ok: false, message: `dial tcp ${host}:${port}: ${error.message}` }));
  });
}

function portOf(port: number | string, container: KubeletContainer): number {
  if (typeof port === "number") return port;
  return container.ports?.find(({ name }) => name === port)?.containerPort ?? Number(port);
}

export interface HealthState {
  readonly started: boolean;
  readonly ready: boolean;
  readonly unhealthy?: string;
}

type ProbeKind = "startup" | "readiness" | "liveness";

const KIND_TITLE: Readonly<Record<ProbeKind, string>> = { startup: "Startup", readiness: "Readiness", liveness: "Liveness" };

/** Runs a container's probes from its start on and keeps what they say. Readiness and liveness begin when the startup probe has passed. */
export class HealthWatch {
  readonly #target: HealthTarget;
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #onFailure: (message: string) => void;
  readonly #ending = new AbortController();
  #state: HealthState;

  constructor(target: HealthTarget, clock: Clock, on: { change: () => void; failure: (message: string) => void }) {
    this.#target = target;
    this.#clock = clock;
    this.#onChange = on.change;
    this.#onFailure = on.failure;
    const { startupProbe, readinessProbe } = target.container;
    const started = startupProbe === undefined;
    this.#state = { started, ready: started && readinessProbe === undefined };
    void this.#run();
  }

  get state(): HealthState {
    return this.#state;
  }

  stop(): void {
    this.#ending.abort();
  }

  async #run(): Promise<void> {
    const { startupProbe, readinessProbe, livenessProbe, name } = this.#target.container;
    try {
      if (startupProbe !== undefined) {
        await this.#probe("startup", startupProbe, (ok) => {
          if (ok) this.#set({ started: true, ready: readinessProbe === undefined });
          else this.#set({ ...this.#state, unhealthy: `Container ${name} failed startup probe, will be restarted` });
          return "stop";
        });
      }
      if (!this.#state.started) return;
      await Promise.all([
        readinessProbe === undefined
          ? undefined
          : this.#probe("readiness", readinessProbe, (ok) => {
              if (ok !== this.#state.ready) this.#set({ ...this.#state, ready: ok });
              return "go on";
            }),
        livenessProbe === undefined
          ? undefined
          : this.#probe("liveness", livenessProbe, (ok) => {
              if (ok) return "go on";
              this.#set({ ...this.#state, unhealthy: `Container ${name} failed liveness probe, will be restarted` });
              return "stop";
            }),
      ]);
    } catch {
      // Only the end of the watch gets here: a probe's own failure is an answer.
    }
  }

  /** Calls `verdict` each time as many answers in a row as the probe asks for were the same. */
  async #probe(kind: ProbeKind, probe: Probe, verdict: (ok: boolean) => "go on" | "stop"): Promise<void> {
    const { signal } = this.#ending;
    const periodMs = (probe.periodSeconds ?? 10) * 1000;
    const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
    let last: boolean | undefined;
    let inRow = 0;
    if ((probe.initialDelaySeconds ?? 0) > 0) await this.#clock.sleep((probe.initialDelaySeconds ?? 0) * 1000, signal);
    while (!signal.aborted) {
      const { ok, message } = await ask(probe, this.#target, timeoutMs);
      if (signal.aborted) return;
      if (!ok) this.#onFailure(`${KIND_TITLE[kind]} probe failed: ${message}`);
      inRow = ok === last ? inRow + 1 : 1;
      last = ok;
      const enough = ok ? (kind === "readiness" ? (probe.successThreshold ?? 1) : 1) : (probe.failureThreshold ?? 3);
      if (inRow >= enough && verdict(ok) === "stop") return;
      await this.#clock.sleep(periodMs, signal);
    }
  }

  #set(state: HealthState): void {
    this.#state = state;
    this.#onChange();
  }
}
