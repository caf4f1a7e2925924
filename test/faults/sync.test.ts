import { testStage } from './stage.ts'

testStage('sync')
