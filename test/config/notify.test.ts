import { describe, expect, it } from 'vitest'
import { configFolder, least } from './folder.ts'

const withEntry = (entry: string): string => `${least}notify:\n  - ${entry}\n`
const email = 'email: [ops@example.com], from: pgproof@example.com'

describe('the entries of notify', () => {
  it('each kind - read as the program needs it, secrets from files', async () => {
    await using folder = await configFolder()
    await folder.write('hook', 'https://hooks.example.com/T0/B0\n')
    const { config } = await folder.load(`${least}notify:
  - { webhookFile: hook, format: slack, tokenFile: secret }
  - { ping: "https://hc-ping.com/uuid", job: [backup, roles], server: [main] }
  - { ${email}, smtp: "smtp://ops@mail.example.com:587", smtpPasswordFile: secret, on: [failure] }
`)
    const [webhook, ping, mail] = config.notify
    expect(webhook).toMatchObject({ kind: 'webhook', format: 'slack', on: ['failure', 'recovery'], jobs: null })
    expect(webhook?.kind === 'webhook' && [webhook.url.reveal(), webhook.token?.reveal()]).toEqual([
      'https://hooks.example.com/T0/B0',
      'hunter2',
    ])
    expect(ping).toMatchObject({ kind: 'ping', on: [], jobs: ['backup', 'roles'], servers: ['main'] })
    expect(mail).toMatchObject({ kind: 'email', to: ['ops@example.com'], on: ['failure'] })
    expect(mail?.kind === 'email' && mail.password?.reveal()).toBe('hunter2')
    expect(JSON.stringify(config.notify)).not.toMatch(/T0|uuid|hunter2/)
  })

  it.each([
    ['nobody', '{ on: [failure] }', 'notify.0: tells nobody'],
    ['two at once', '{ webhook: "https://a/", ping: "https://b/" }', 'notify.0.ping: is given beside webhook'],
    ['a format of a ping', '{ ping: "https://b/", format: json }', 'notify.0.format: has no meaning with ping'],
    ['what a ping is told', '{ ping: "https://b/", on: [failure] }', 'notify.0.on: has no meaning with ping'],
    ['an e-mail without a server', `{ ${email} }`, 'notify.0.email: needs notify.0.smtp'],
    [
      'a password for nobody',
      `{ ${email}, smtp: "smtp://mail:25", smtpPasswordFile: secret }`,
      'notify.0.smtpPasswordFile: is for a user, and smtp names none',
    ],
    [
      'a user without a password',
      `{ ${email}, smtp: "smtp://ops@mail:25" }`,
      'notify.0.smtp: names a user, and notify.0.smtpPasswordFile is not set',
    ],
    ['a password in the URL', `{ ${email}, smtp: "smtp://ops:pw@mail:25" }`, 'notify.0.smtp: '],
    [
      'a server that is none',
      '{ webhook: "https://a/", server: [maim] }',
      'notify.0.server.0: no server is named "maim"',
    ],
    ['a job that is none', '{ webhook: "https://a/", job: [dump] }', 'notify.0.job'],
    ['no URL', '{ webhook: "hooks.example.com" }', 'notify.0.webhook: '],
    ['a file without a URL', '{ pingFile: secret }', 'notify.0.pingFile: the file does not hold a URL'],
    [
      'an address with another header in it',
      '{ email: ["a@b\\nBcc: c@d"], from: a@b, smtp: "smtp://m" }',
      'notify.0.email',
    ],
  ])('%s - refused', async (_, entry, fault) => {
    await using folder = await configFolder()
    const faults = await folder.faults(withEntry(entry))
    expect(faults.filter((line) => line.includes(fault))).toHaveLength(1)
    expect(faults.join()).not.toMatch(/hunter2|:pw@/)
  })

  it('a test that nobody is sent - refused', async () => {
    await using folder = await configFolder()
    expect((await folder.faults(`${least}daemon: { notifyTest: "0 10 1 * *" }\n`)).join()).toContain(
      'daemon.notifyTest: has nobody to tell',
    )
  })
})
