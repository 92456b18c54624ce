// The wrapper as one would write it in node: what it does for a known key. Node has no flock: it
// asks flock(1), for the open file that the two share. Before 22.15 it has no exec either, and
// stays as claude's parent.
import { spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync, readFileSync, readdirSync, writeSync } from "node:fs";

const { HOME, NSED_SESSION_DIR, NSED_ROOM_ID, NSED_CLAUDE_BIN } = process.env;
const agent = process.env.NSED_AGENT_NAME || "claude";

// One live claude at a time: its parent, or it itself, keeps this lock.
const name = `lock-${NSED_ROOM_ID}-${agent}`.replaceAll("/", "_");
lock(openSync(`${NSED_SESSION_DIR}/${name}`, "a"));
const sessionId = lookUpAndRecord(`${NSED_SESSION_DIR}/sessions.json`);
const args = [...flags(sessionId), ...process.argv.slice(2)];
if (process.execve) process.execve(NSED_CLAUDE_BIN, ["claude", ...args], process.env);
const { status, signal } = spawnSync(NSED_CLAUDE_BIN, args, { stdio: "inherit" });
if (signal) process.kill(process.pid, signal);
process.exit(status);

function lock(file) {
  spawnSync("flock", ["3"], { stdio: ["ignore", "inherit", "inherit", file] });
}

function lookUpAndRecord(path) {
  const file = openSync(path, "r+");
  lock(file);
  const rooms = JSON.parse(readFileSync(file, "utf8"));
  const entry = rooms[NSED_ROOM_ID][agent];
  entry.last_used = new Date().toISOString();
  ftruncateSync(file);
  writeSync(file, JSON.stringify(rooms, null, 2), 0);
  closeSync(file);
  return entry.uuid;
}

function flags(sessionId) {
  const here = process.cwd().replace(/[^a-zA-Z0-9]/g, "-");
  for (const project of readdirSync(`${HOME}/.claude/projects`)) {
    const path = `${HOME}/.claude/projects/${project}/${sessionId}.jsonl`;
    let text;
    try {
      text = readFileSync(path, "utf8");
    } catch {
      continue;
    }
    if (/"type":"(user|assistant)"/.test(text)) {
      return ["--resume", project === here ? sessionId : path];
    }
  }
  return ["--session-id", sessionId];
}
