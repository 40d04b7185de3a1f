"""Rollouts: triggers, the plan and the gate (pure), and the controller that writes goals."""
