import { type Backup, backups } from "@drayage/api";
import { FakeKubeClient } from "@drayage/kube/testing";
import { beforeEach, describe, expect, it } from "vitest";
import { exitCodeOf } from "../exit-codes.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";
import { formatProgress, reasonsOf, waitForObject } from "./wait.ts";

const key = { namespace: "velero", name: "b" };
let client: FakeKubeClient;
let terminal: RecordingTerminal;
beforeEach(() => {
  terminal = new RecordingTerminal();
  client = new FakeKubeClient({ clock: terminal.clock });
  client.seed<Backup>(backups, { metadata: key, spec: {}, status: { phase: "New" } });
});

const wait = (timeoutMs?: number): Promise<Backup> =>
  waitForObject(client, backups, key, {
    terminal,
    done: ({ status }) => status?.phase === "Completed",
    line: ({ status }) => `b: ${status?.phase}`,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
const become = (phase: "InProgress" | "Completed"): Backup =>
  client.mutate(backups, key, (backup) => {
    backup.status = { phase };
  });
/** Lets what is pending happen. */
const turn = (ms = 0): Promise<void> => terminal.clock.advance(ms);

describe("waitForObject", () => {
  it("ends when the object is as wanted, and tells no more than a line every ten seconds to a pipe", async () => {
    const waiting = wait();
    await turn();
    become("InProgress");
    await turn();
    expect(terminal.errors).toBe("b: New\n");
    become("Completed");
    expect((await waiting).status?.phase).toBe("Completed");
    expect(terminal.text).toBe("");
  });

  it("goes on after the history of its watch was forgotten", async () => {
    const waiting = wait();
    await turn();
    client.compact();
    become("Completed");
    await turn(1_000);
    expect((await waiting).status?.phase).toBe("Completed");
  });

  it("ends with 124 when it takes too long, and says that it goes on in the cluster", async () => {
    const waiting = wait(5_000);
    waiting.catch(() => undefined);
    await turn(5_001);
    const error: unknown = await waiting.catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: "TIMED_OUT",
      message: 'Cannot wait longer for Backup "b": not finished within 5s',
      hint: expect.stringContaining("It goes on"),
    });
    expect(exitCodeOf(error)).toBe(124);
  });

  it("ends with 130 on Ctrl-C, and leaves the object as it is", async () => {
    const waiting = wait(5_000);
    waiting.catch(() => undefined);
    await turn();
    terminal.abort.abort(new Error("interrupted"));
    const error: unknown = await waiting.catch((caught: unknown) => caught);
    expect(exitCodeOf(error, terminal.signal)).toBe(130);
    expect(client.peek(backups, key)?.status?.phase).toBe("New");
  });

  it("ends with 4 when the object is deleted meanwhile", async () => {
    const waiting = wait();
    waiting.catch(() => undefined);
    await turn();
    client.discard(backups, key);
    const error: unknown = await waiting.catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: "KUBE_NOT_FOUND", message: 'Cannot wait for Backup "b": it was deleted' });
    expect(exitCodeOf(error)).toBe(4);
  });
});

it.each([
  [undefined, undefined, "0 B"],
  [5, 0, "5 B"],
  [1 << 20, 4 << 20, "1.0 MiB of 4.0 MiB (25 %)"],
])("formatProgress(%s, %s) is %s", (done, total, text) => expect(formatProgress(done, total)).toBe(text));

it("reasonsOf tells failure and validation errors, and nothing of what went well", () => {
  expect(reasonsOf({ failureReason: "a", validationErrors: ["b", "c"] })).toEqual(["a", "b", "c"]);
  expect(reasonsOf(undefined)).toEqual([]);
});
