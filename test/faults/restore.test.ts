import { testStage } from './stage.ts'

testStage('restore')
