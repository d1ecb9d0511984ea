import type { DataPathProgress } from "@drayage/datapath";
import { describe, expect, it } from "vitest";
import { RecordingTerminal } from "../testing/recording-terminal.ts";
import { TransferView } from "./transfer-view.ts";

const MIB = 1 << 20;

function progress(rest: Partial<DataPathProgress>): DataPathProgress {
  return {
    ...{ phase: "transferring", bytesTotal: 100 * MIB, filesTotal: 10, totalIsExact: true, bytesDone: 0, filesDone: 0 },
    ...{ bytesHashed: 0, bytesDeduplicated: 0, bytesUploaded: 0, errors: 0, ...rest },
  };
}

describe("TransferView", () => {
  it("prints a line every ten seconds where there is no terminal, with rate and time left", async () => {
    const terminal = new RecordingTerminal();
    const view = new TransferView(terminal, "Uploading", false);
    for (let second = 0; second <= 20; second++) {
      view.onProgress(progress({ bytesDone: second * MIB, filesDone: Math.floor(second / 10), errors: second === 20 ? 2 : 0 }));
      await terminal.clock.advance(1000);
    }
    expect(terminal.errors).toBe(
      "Uploading: 10 % 10.0 MiB of 100 MiB, 1 of 10 files, 1.0 MiB/s, 90s left\nUploading: 20 % 20.0 MiB of 100 MiB, 2 of 10 files, 1.0 MiB/s, 80s left, 2 failed\n",
    );
    expect(terminal.text).toBe("");
  });

  it("keeps one live line on a terminal, no wider than it, and takes it away at the end", () => {
    const terminal = Object.assign(new RecordingTerminal(), { errIsTerminal: true, columns: 30 });
    const view = new TransferView(terminal, "Restoring", false);
    view.onProgress(progress({ bytesDone: 50 * MIB, filesDone: 5 }));
    expect(terminal.errors).toBe("Restoring: 50 % 50.0 MiB of 1");
    view.onProgress(progress({ phase: "done" }));
    expect(terminal.errors).toBe("Restoring: 50 % 50.0 MiB of 1\r\u001b[K");
  });

  it("with JSON, tells progress every second as an event", async () => {
    const terminal = new RecordingTerminal();
    const view = new TransferView(terminal, "Uploading", true);
    for (let step = 0; step < 5; step++) {
      view.onProgress(progress({ bytesDone: step * MIB }));
      await terminal.clock.advance(500);
    }
    const events = terminal.text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(events).toMatchObject([
      { type: "progress", schema: 1, bytesDone: 2 * MIB, bytesPerSecond: 2 * MIB, etaMs: 49_000 },
      { type: "progress", schema: 1, bytesDone: 4 * MIB },
    ]);
  });

  it("shows twenty problems and counts the rest", () => {
    const terminal = new RecordingTerminal();
    const problems = Array.from({ length: 30 }, (_, index) => ({ path: `file-${index}`, message: "cannot be read" }));
    new TransferView(terminal, "Uploading", false).problems(problems, 1234, "error");
    const lines = terminal.errors.trim().split("\n");
    expect(lines).toHaveLength(21);
    expect(lines[0]).toBe("error: file-0: cannot be read");
    expect(lines[20]).toBe("error: and 1214 more");
  });
});
