"""serving/policies/lengths"""
