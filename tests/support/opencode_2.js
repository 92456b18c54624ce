// Stands for OpenCode 2, which no registry that the tests reach has: the part of it that runs the
// shell tool, written from the types of its package @opencode/plugin (`promise/plugin.ts`, `tool.ts`
// and `shell.ts`, autumn 2026). It knows nothing that these do not say. What it assumes beyond them is
// that a call's `execute.before` comes before the `create.before` of its command, and its
// `execute.after` after that command has ended.

import { spawn } from "node:child_process"

export class OpenCode2 {
  #hooks = { tool: {}, shell: {}, session: {} }
  #calls = 0

  // `parents` has the parent of each session, or null.
  constructor(parents) {
    const domain = (name) => ({ hook: async (event, run) => void (this.#hooks[name][event] = run) })
    const get = async ({ sessionID }) => {
      if (!(sessionID in parents)) throw new Error(`no session ${sessionID}`)
      return { id: sessionID, parentID: parents[sessionID] ?? undefined }
    }
    this.context = { tool: domain("tool"), shell: domain("shell"), session: { ...domain("session"), get } }
  }

  // What a command prints that an agent runs with its shell tool.
  async agentRuns(sessionID, agent, command, toolName = "shell") {
    const call = { tool: toolName, sessionID, agent, messageID: "msg_1", id: `call_${++this.#calls}` }
    const event = { ...call, input: { command } }
    await this.#hooks.tool["execute.before"]?.(event)
    const printed = await this.#create(sessionID, event.input.command)
    const result = { status: "completed", result: {} }
    await this.#hooks.tool["execute.after"]?.({ ...call, input: event.input, ...result })
    return printed
  }

  // What a command prints that the user typed.
  async userRuns(sessionID, command) {
    return await this.#create(sessionID, command)
  }

  async #create(sessionID, command) {
    const event = { command, cwd: "/", timeout: 120_000, shell: "/bin/sh", env: {} }
    await this.#hooks.shell["create.before"]?.(event)
    const own = { OPENCODE: "1", AGENT: "1", AI_AGENT: "opencode", OPENCODE_SESSION_ID: sessionID }
    const env = { ...process.env, ...own, ...event.env }
    const child = spawn(event.shell, ["-c", event.command], { cwd: event.cwd, env })
    let printed = ""
    child.stdout.on("data", (data) => (printed += data))
    await new Promise((ended) => child.on("close", ended))
    return printed.trim()
  }
}
