// Run by attached-command.test.ts: a command that is under way when Ctrl-C comes; prints how it ended.
import { runAttached } from '../../src/streams/attached-command.ts'

const onStart = (): void => void process.kill(process.pid, 'SIGINT')
console.log(JSON.stringify(await runAttached({ command: 'sleep', args: ['60'], env: process.env, onStart })))
