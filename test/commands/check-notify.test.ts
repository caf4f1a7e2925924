import { describe, expect, it } from 'vitest'
import { startMailServer } from '../notify/mail-server.ts'
import { type Receiver, startReceiver } from '../notify/receiver.ts'
import { freePort } from '../support/postgres-server.ts'
import { cliFolder } from './cli.ts'

const settings = (receiver: Receiver, mailPort: number): object[] => [
  { webhook: `${receiver.origin}/services/SECRET`, tokenFile: 'token' },
  { webhook: `${receiver.origin}/slack/SECRET`, format: 'slack', on: ['success'], job: ['drill'] },
  { ping: `${receiver.origin}/ping/SECRET` },
  { email: ['ops@example.com'], from: 'pgproof@example.com', smtp: `smtp://127.0.0.1:${mailPort}` },
]

describe('check --notify', () => {
  it('every entry answers - a test through each, whatever it is told of; a ping is only logged; exit 0', async () => {
    await using receiver = await startReceiver()
    await using mail = await startMailServer({ disabledCommands: ['STARTTLS'] })
    await using folder = await cliFolder(['nobody-asks'])
    await folder.write('token', 'T0KEN')
    await folder.configure({ notify: settings(receiver, mail.port) })
    const { code, stdout, stderr } = await folder.run(['check', '--notify'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const target = `127.0.0.1:${receiver.port}`
    const lines = stdout.split('\n').filter((line) => line !== '')
    expect(lines.map((line) => line.replace(/ in .*/, ''))).toEqual([
      `notify.0 (webhook ${target})`,
      '  ok  delivered',
      `notify.1 (webhook ${target})`,
      '  ok  delivered',
      `notify.2 (ping ${target})`,
      '  ok  delivered',
      'notify.3 (e-mail to ops@example.com)',
      '  ok  delivered',
    ])
    const byPath = new Map(receiver.received.map((one) => [one.path.replace(/\?.*/, ''), one]))
    expect([...byPath.keys()].sort()).toEqual(['/ping/SECRET/log', '/services/SECRET', '/slack/SECRET'])
    expect(JSON.parse(byPath.get('/services/SECRET')?.body ?? '')).toMatchObject({ event: 'test', isTest: true })
    expect(byPath.get('/services/SECRET')?.authorization).toBe('Bearer T0KEN')
    expect(mail.mails.map(({ headers }) => headers.get('subject'))).toEqual([
      expect.stringMatching(/^\[pgproof\] TEST: /),
    ])
    expect(folder.objects()).toHaveLength(1)
  })

  it('one refuses, one is not there - the others are tried; exit 11, each with its hint, no secret anywhere', async () => {
    await using receiver = await startReceiver()
    await using folder = await cliFolder(['nobody-asks'])
    await folder.write('token', 'T0KEN')
    receiver.answer(({ path }) => ({ status: path.startsWith('/services') ? 403 : 200 }))
    await folder.configure({ notify: settings(receiver, await freePort()) })
    const { code, document, stderr } = await folder.json(['check', '--notify'])
    expect(code).toBe(11)
    const findings = [...(document['findings'] ?? [])]
    expect(findings.map(({ result, code: found }) => [result, found])).toEqual([
      ['problem', 'NOTICE_FAILED'],
      ['ok', null],
      ['ok', null],
      ['problem', 'NOTICE_FAILED'],
    ])
    expect(findings[0]).toMatchObject({
      subject: `notify.0 (webhook 127.0.0.1:${receiver.port})`,
      message: `the notice by notify.0 (webhook 127.0.0.1:${receiver.port}) could not be delivered: it answered 403 Forbidden`,
      hint: expect.stringContaining('notify'),
    })
    expect(document['error']).toMatchObject({ code: 'NOTICE_FAILED', message: expect.stringContaining('2 of 4') })
    expect(JSON.stringify(document) + stderr).not.toMatch(/SECRET|T0KEN/)
    const page = await folder.run(['check', '--notify'])
    expect(page.code).toBe(11)
    expect(page.stdout).toContain(
      '  problem  the notice by notify.3 (e-mail to ops@example.com) could not be delivered',
    )
    expect(page.stdout + page.stderr).not.toMatch(/SECRET|T0KEN/)
  })

  it('nobody is configured - exit 2, and says so', async () => {
    await using folder = await cliFolder(['nobody-asks'])
    const { code, stderr } = await folder.run(['check', '--notify'])
    expect(code).toBe(2)
    expect(stderr).toContain('--notify has nobody to tell')
  })
})
