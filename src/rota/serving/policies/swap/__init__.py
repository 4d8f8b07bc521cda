"""serving/policies/swap"""
