import { tmpdir } from 'node:os'
import { describe, expect, it } from 'vitest'
import { canMount, inOwnMounts, nodeLine } from '../storage/own-mounts.ts'

const child = nodeLine('../streams/attached-command.child.ts')

if (await canMount())
  describe('a command that runs in our place', () => {
    it.each([
      ['without a terminal', []],
      ['where nobody tells of terminals: a machine without /proc', ['mount -t tmpfs tmpfs /proc']],
    ])('%s - SIGINT is passed on to it', async (_, lines) => {
      const printed = await inOwnMounts(tmpdir(), [...lines, child])
      expect(JSON.parse(printed)).toEqual({ exitCode: 130, signalName: 'SIGINT', startCode: null })
    })
  })
