import { describe, expect, it } from 'vitest'
import { parseServerUrl, resolveSslFiles, sslFilesOf } from '../../src/config/server-url.ts'

describe('parseServerUrl', () => {
  it.each([
    ['postgres://u@h/db', 'postgres://u@h/db', undefined, 'h:5432'],
    ['postgresql://u@H:6543/db', 'postgresql://u@H:6543/db', undefined, 'h:6543'],
    ['postgres://u:p%40ss@h/db', 'postgres://u@h/db', 'p@ss', 'h:5432'],
    ['postgres://u:@h/db', 'postgres://u@h/db', undefined, 'h:5432'],
    ['postgres://u@[::1]:5433/db', 'postgres://u@[::1]:5433/db', undefined, '[::1]:5433'],
    ['postgres://u@%2Frun%2Fpostgresql/db', 'postgres://u@%2Frun%2Fpostgresql/db', undefined, '/run/postgresql:5432'],
    ['postgres://u@h', 'postgres://u@h/postgres', undefined, 'h:5432'],
    ['postgres://u@h/?sslmode=require', 'postgres://u@h/postgres?sslmode=require', undefined, 'h:5432'],
    ['postgres://u@h/db?application_name=a+b', 'postgres://u@h/db?application_name=a%2Bb', undefined, 'h:5432'],
  ])('%s - understood', (text, url, password, address) => {
    expect(parseServerUrl(text)).toEqual({ url, password, address })
  })

  it.each([
    ['mysql://u@h/db', 'not a well-formed URL'],
    ['u@h/db', 'not a well-formed URL'],
    ['postgres://u:p%zz@h/db', 'not a well-formed URL'],
    ['postgres://u:5#x@h/db', 'not a well-formed URL'],
    ['postgres://u@h1:1,h2:2/db', 'not a well-formed URL'],
    ['postgres://u@h1,h2/db', 'several hosts'],
    ['postgres:///db', 'no host'],
    ['postgres://h/db', 'no user'],
    ['postgres://u@h/a/b', 'no single database'],
    ['postgres://u@h/db?host=evil', 'may hold only'],
    ['postgres://u@h/db?hostaddr=10.0.0.1', 'may hold only'],
    ['postgres://u@h/db?port=1', 'may hold only'],
    ['postgres://u@h/db?service=x', 'may hold only'],
    ['postgres://u@h/db?options=-csearch_path%3Dx', 'may hold only'],
    ['postgres://u@h/db?dbname=other', 'may hold only'],
    ['postgres://u@h/db?constructor=x', 'may hold only'],
    ['postgres://u@h/db?SSLMODE=require', 'may hold only'],
    ['postgres://u@h/db?sslmode=maybe', 'sslmode'],
    ['postgres://u@h/db?sslmode=require&sslmode=disable', 'twice'],
    ['postgres://u@h/db?connect_timeout=soon', 'connect_timeout'],
    ['postgres://u@h/db?sslcert=', 'sslcert'],
    ['postgres://u@h/db?sslkey=', 'sslkey'],
  ])('%s - refused with a reason', (text, reason) => {
    expect(parseServerUrl(text)).toEqual({ reason: expect.stringContaining(reason) })
  })

  it('a password in any broken URL - not in the reason', () => {
    const broken = [
      'postgres://u:hunter2@h/db?host=evil',
      'postgres://u:1?hunter2@h/db',
      'postgres://u:1#hunter2@h/db',
      'postgres://u:1/hunter2/@h/db',
      'postgres://u:hunter2@h1,h2/db',
      'postgres://:hunter2@h/db',
      'hunter2',
    ]
    for (const text of broken) expect(JSON.stringify(parseServerUrl(text))).not.toContain('hunter2')
  })
})

it('certificate files in the query - named, and made absolute except for the word system', () => {
  const url = 'postgres://u@h/db?sslrootcert=ca.pem&sslcert=my%20cert.pem&application_name=a%20b'
  expect(sslFilesOf(url)).toEqual(['ca.pem', 'my cert.pem'])
  expect(resolveSslFiles(url, (path) => `/etc/${path}`)).toBe(
    'postgres://u@h/db?sslrootcert=%2Fetc%2Fca.pem&sslcert=%2Fetc%2Fmy%20cert.pem&application_name=a%20b',
  )
  expect(sslFilesOf('postgres://u@h/db?sslrootcert=system')).toEqual([])
  expect(resolveSslFiles('postgres://u@h/db?sslrootcert=system', () => '/wrong')).toContain('sslrootcert=system')
})
