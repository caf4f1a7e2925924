import { testStage } from './stage.ts'

testStage('backup')
