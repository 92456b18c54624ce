// claude-shim plugin: made by `claude-shim opencode install`, removed by `... uninstall`.
//
// It tells a claude that OpenCode starts who is calling: NSED_ROOM_ID is `oc-` and the id of the
// root session, NSED_AGENT_NAME is the agent. OpenCode 1 runs `server`, OpenCode 2 runs `setup`.

import { AsyncLocalStorage } from "node:async_hooks"

const ROOM = "NSED_ROOM_ID"
const AGENT = "NSED_AGENT_NAME"
const WORKERS_ROOM = "NSED_SESSION_ID"
const TOLD_ROOM = "NSED_SHIM_ROOM"
const TOLD_AGENT = "NSED_SHIM_AGENT"
const DISABLE = "NSED_SHIM_DISABLE"
const PATIENCE_MS = 2000

export default { id: "claude-shim", server, setup }

// OpenCode 1. What OpenCode itself was started with wins, unless it only inherited that from a claude
// around it, which told its names in NSED_SHIM_ROOM and -AGENT.
async function server({ client }) {
  // One for the whole process: this file may be loaded from several places, and it runs once for
  // each directory that OpenCode serves.
  const shared = (globalThis[Symbol.for("claude-shim")] ??= watch(process.env))
  const warn = async (message) => {
    await client.app.log({ body: { service: "claude-shim", level: "warn", message } })
  }
  const roomOf = rooms(async (id) => (await client.session.get({ path: { id } })).data)

  const agentOf = async (sessionID) => {
    const call = shared.calls.getStore()
    if (call?.sessionID === sessionID && !call.isAuxiliary) return call.agent
    // A command that the user typed (`!claude ...`): no model call, but a message of its own.
    const path = { id: sessionID }
    const { data } = await client.session.messages({ path, query: { limit: 1 } })
    return data[0].info.agent
  }

  return {
    // What a provider does for this model call, and the tools that the model then uses, run in
    // the asynchronous context that is entered here, whatever else OpenCode does meanwhile.
    "chat.params": harmless(warn, async ({ sessionID, agent: given, message }) => {
      const agent = given?.name ?? given // some versions of OpenCode give the whole agent
      const call = { sessionID, agent, room: "" }
      shared.calls.enterWith(call) // before the first await: after it, the context is our own
      // OpenCode's title, summary and compaction agents answer messages to other agents.
      call.isAuxiliary = agent !== message.agent
      call.room = await roomOf(sessionID)
    }),

    "shell.env": harmless(warn, async ({ sessionID }, { env }) => {
      if (!sessionID) return // a terminal that the user opened
      // An auxiliary agent runs no commands: this one is another's, in whose context it got.
      if (shared.calls.getStore()?.isAuxiliary) env[DISABLE] = shared.given[DISABLE]
      const room = shared.said(ROOM) || shared.said(WORKERS_ROOM) || (await roomOf(sessionID))
      const agent = shared.said(AGENT) || (await agentOf(sessionID))
      Object.assign(env, { [ROOM]: room, [AGENT]: agent, [TOLD_ROOM]: "", [TOLD_AGENT]: "" })
    }),
  }
}

// OpenCode 2. One service runs the commands of every terminal, so the names that it was started with
// belong to one terminal at most: they never win.
async function setup({ session, shell, tool }) {
  const warn = async (message) => console.warn(`claude-shim: ${message}`)
  const roomOf = rooms((sessionID) => session.get({ sessionID }))
  const calls = new Map() // of the shell tool, by their ids, until they have ended

  await tool.hook("execute.before", ({ id, tool: name, sessionID, agent, input }) => {
    if (name === "shell") calls.set(id, { sessionID, agent, command: input?.command })
  })
  await tool.hook("execute.after", ({ id }) => void calls.delete(id))

  // The event has neither session nor agent: the call that has this command does. Where the user typed
  // the command, or several callers run it at once, OPENCODE_SESSION_ID names the room.
  const name = harmless(warn, async ({ command, env }) => {
    const callers = new Map()
    for (const { command: running, sessionID, agent } of calls.values()) {
      if (running === command) callers.set(JSON.stringify([sessionID, agent]), { sessionID, agent })
    }
    const [caller, another] = callers.values()
    if (!caller || another) return
    Object.assign(env, { [ROOM]: await roomOf(caller.sessionID), [AGENT]: caller.agent })
  })
  await shell.hook("create.before", async (event) => {
    for (const variable of [ROOM, AGENT, WORKERS_ROOM, TOLD_ROOM, TOLD_AGENT]) {
      if (process.env[variable]) event.env[variable] = "" // empty means unset
    }
    await name(event)
  })
}

// The room of a session. A subagent's session has its caller's as its parent.
function rooms(get) {
  const roots = new Map()
  const rootOf = async (sessionID, below = []) => {
    if (below.includes(sessionID)) throw new Error(`session ${sessionID} is its own ancestor`)
    if (!roots.has(sessionID)) {
      const parent = (await get(sessionID)).parentID
      roots.set(sessionID, parent ? await rootOf(parent, [...below, sessionID]) : sessionID)
    }
    return roots.get(sessionID)
  }
  return async (sessionID) => `oc-${await rootOf(sessionID)}`
}

// A hook that fails would fail the user's prompt, one that hangs would hold it up. Where a name is
// missing, claude runs as without this plugin.
function harmless(warn, hook) {
  return async (input, output) => {
    let timer
    const late = new Promise((_, reject) => {
      timer = setTimeout(reject, PATIENCE_MS, new Error(`no answer within ${PATIENCE_MS} ms`))
    })
    try {
      await Promise.race([hook(input, output), late])
    } catch (problem) {
      warn(String(problem)).catch(() => {})
    } finally {
      clearTimeout(timer)
    }
  }
}

// Lets the environment answer for the model call in whose context it is asked: a claude that a
// provider spawns gets what holds for its own call, however many are under way.
function watch(environment) {
  const calls = new AsyncLocalStorage()
  const given = {}
  const told = { [ROOM]: TOLD_ROOM, [WORKERS_ROOM]: TOLD_ROOM, [AGENT]: TOLD_AGENT }
  const said = (name) => (given[name] !== given[told[name]] ? given[name] : "")
  // Never undefined, which some programs would pass on as a word: empty means unset.
  const answers = {
    [ROOM]: (call) => (call?.room ? said(ROOM) || said(WORKERS_ROOM) || call.room : given[ROOM]),
    [AGENT]: (call) => (call?.room ? said(AGENT) || call.agent : given[AGENT]),
    [WORKERS_ROOM]: () => given[WORKERS_ROOM],
    // The names are said now: none of them is inherited any more.
    [TOLD_ROOM]: (call) => (call?.room ? "" : given[TOLD_ROOM]),
    [TOLD_AGENT]: (call) => (call?.room ? "" : given[TOLD_AGENT]),
    [DISABLE]: (call) => (call?.isAuxiliary ? "1" : given[DISABLE]),
  }
  for (const [name, answer] of Object.entries(answers)) {
    given[name] = environment[name] ?? ""
    const get = () => answer(calls.getStore())
    const set = (value) => (given[name] = value)
    try {
      Object.defineProperty(environment, name, { get, set, enumerable: true, configurable: true })
    } catch {
      // Node, unlike Bun, refuses: commands of the shell tool still get their names.
    }
  }
  return { calls, given, said }
}
